"""ROI by region as the pipeline settled it."""

from app.store.listing import Listing
from app.store.shape import made, plain, times
from app.store.snapshot import Snapshot

_MONEY = ("n_matches", "n_bets", "n_wins", "hit_rate", "staked", "profit", "max_drawdown", "n_clv")
# figures that need bets, by the column that counts them
_ENOUGH = {
    **dict.fromkeys(("roi_pct", "roi_ci_low", "roi_ci_high"), "n_bets"),
    **dict.fromkeys(("clv_pct", "clv_ci_low", "clv_ci_high"), "n_clv"),
}


def newest(snapshot: Snapshot) -> Listing:
    """The newest row of each region; figures from too few bets are null."""
    least = snapshot.rules.min_bets
    enough = {name: f"CASE WHEN {count} >= {least:d} THEN {name} END" for name, count in _ENOUGH.items()}
    too_few = f"n_bets < {least:d}"
    shape = plain("region") | times("settled_until") | plain(*_MONEY) | made(**enough, too_few=too_few)
    source = (
        "roi_by_region QUALIFY row_number() OVER (PARTITION BY region ORDER BY settled_until DESC) = 1 ORDER BY region"
    )
    return Listing(shape, source)
