"""ROI by region as the pipeline settled it."""

from app.store.listing import Listing, instant, struct
from app.store.snapshot import Snapshot

_MONEY = ("n_matches", "n_bets", "n_wins", "hit_rate", "staked", "profit")
_ENOUGH = ("roi_pct", "roi_ci_low", "roi_ci_high")


def newest(snapshot: Snapshot) -> Listing:
    """The newest row of each region; figures from too few bets are null."""
    few = f"n_bets < {snapshot.rules.min_bets:d}"
    shown = {name: name for name in _MONEY} | {name: f"CASE WHEN {few} THEN NULL ELSE {name} END" for name in _ENOUGH}
    shown["too_few"] = few
    row = struct(region="region", settled_until=instant("settled_until"), **shown)
    columns = ", ".join(["region", "settled_until", *(f"{sql} AS {name}" for name, sql in shown.items())])
    source = (
        "roi_by_region QUALIFY row_number() OVER (PARTITION BY region ORDER BY settled_until DESC) = 1 ORDER BY region"
    )
    return Listing(row, columns, source)
