"""Results of value bets: on exactly the selected matches, and by region as the pipeline settled them."""

from dataclasses import asdict, dataclass

import numpy as np

from app.domain.outcomes import Floats
from app.domain.roi import ClosingLine, Roi, closing_line, summarise
from app.domain.vocabulary import Staking
from app.store import selection as store_selection
from app.store.database import Connection, fetch_columns
from app.store.fields import Listing, columns, computed_field, instants
from app.store.selection import Selection
from app.store.snapshot import Snapshot

_COUNTS = """
SELECT count(*) AS n_matches,
    count(*) FILTER (is_value AND status IN ('upcoming', 'live')) AS n_open_value_bets,
    -- one set of matches for all three, or they could not be compared: those with odds when there are any
    coalesce(nullif(count(*) FILTER (priced), 0), count(*) FILTER (judged)) AS n_predicted,
    coalesce(avg(hit::INT) FILTER (priced), avg(hit::INT) FILTER (judged)) AS accuracy,
    avg(favourite_hit::INT) FILTER (priced) AS accuracy_market,
    coalesce(avg(home_won::INT) FILTER (priced), avg(home_won::INT) FILTER (judged)) AS accuracy_home,
    count(*) FILTER (in_sample AND outcome IS NOT NULL) AS n_in_sample_excluded
FROM (
    SELECT *, outcome = 'home' AS home_won, outcome IS NOT NULL AND status = 'finished' AND NOT in_sample AS judged,
        judged AND favourite_hit IS NOT NULL AS priced
    FROM cards
) WHERE {where}
"""
_BETS = """
SELECT profit, kelly_profit, kelly_stake, won, best_price, best_edge, clv
FROM cards WHERE {where} AND profit IS NOT NULL ORDER BY kickoff_utc, match_id
"""


@dataclass(frozen=True, slots=True)
class SelectionRoi:
    """Settled value bets, and how well matches were called, over a selection."""

    bets: Roi
    closing_line: ClosingLine
    average_odds: float | None
    mean_edge_pct: float | None
    counts: dict[str, int | float | None]

    def members(self) -> dict[str, int | float | bool | None]:
        """All figures, flat."""
        means = {"average_odds": self.average_odds, "mean_edge_pct": self.mean_edge_pct}
        return asdict(self.bets) | asdict(self.closing_line) | self.counts | means


async def selection_roi(snapshot: Snapshot, selection: Selection, staking: Staking) -> SelectionRoi:
    """ROI of the settled value bets in the selected matches; rows in sample never count."""
    min_bets = snapshot.rules.min_bets
    return await snapshot.database.run(lambda cursor: _of(cursor, selection, staking, min_bets))


def _of(cursor: Connection, selection: Selection, staking: Staking, min_bets: int) -> SelectionRoi:
    where, params = store_selection.fixtures_condition(cursor, selection)
    counted = cursor.execute(_COUNTS.format(where=where), params)
    names = [column[0] for column in counted.description]
    counts = dict(zip(names, counted.fetchall()[0], strict=True))
    bets = fetch_columns(cursor, _BETS.format(where=where), params)
    is_flat = staking is Staking.FLAT
    stake = np.ones(len(bets["profit"])) if is_flat else bets["kelly_stake"]
    profit = bets["profit"] if is_flat else bets["kelly_profit"]
    return SelectionRoi(
        bets=summarise(stake, profit, bets["won"].astype(np.bool_), min_bets),
        closing_line=closing_line(np.ma.filled(bets["clv"], np.nan), min_bets),
        average_odds=_mean(bets["best_price"]),
        mean_edge_pct=_mean(100 * bets["best_edge"]),
        counts=counts,
    )


def _mean(values: Floats) -> float | None:
    return float(np.mean(values)) if len(values) else None


_MONEY = ("n_matches", "n_bets", "n_wins", "hit_rate", "staked", "profit", "max_drawdown", "n_clv")
# figures that need bets, by the column that counts them
_ENOUGH = {
    **dict.fromkeys(("roi_pct", "roi_ci_low", "roi_ci_high"), "n_bets"),
    **dict.fromkeys(("clv_pct", "clv_ci_low", "clv_ci_high"), "n_clv"),
}


def newest_region_roi(snapshot: Snapshot) -> Listing:
    """The newest row of each region; figures from too few bets are null."""
    least = snapshot.rules.min_bets
    enough = {name: f"CASE WHEN {count} >= {least:d} THEN {name} END" for name, count in _ENOUGH.items()}
    too_few = f"n_bets < {least:d}"
    shape = columns("region") | instants("settled_until") | columns(*_MONEY) | computed_field(**enough, too_few=too_few)
    source = (
        "roi_by_region QUALIFY row_number() OVER (PARTITION BY region ORDER BY settled_until DESC) = 1 ORDER BY region"
    )
    return Listing(shape, source)
