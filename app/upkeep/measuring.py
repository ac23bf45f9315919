"""Measures each snapshot once, when it is opened: how old its odds are, and how its value bets did."""

import structlog

from app.domain.staking import Staking
from app.errors import ServiceError
from app.store.roi import SelectionRoi, of_selection
from app.store.selection import Selection
from app.store.snapshot import Snapshot
from app.telemetry.service import Metrics

log = structlog.get_logger(__name__)

_NEWEST_ODDS = "SELECT epoch(max(captured_at)) FROM cards"


class Measuring:
    """Told of each swap; tells the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.artifacts
        self._scores = metrics.scores

    async def __call__(self, _: Snapshot | None, snapshot: Snapshot) -> None:
        """Measure a new snapshot; one that cannot be measured is served all the same."""
        self._metrics.swaps.inc()
        try:
            rows = await snapshot.lake.fetch(_NEWEST_ODDS)
            self._metrics.odds_at_s = rows[0][0]
            self._scores.set_bets(_figures(await of_selection(snapshot, Selection(), Staking.FLAT)))
        except ServiceError as error:
            log.warning("a snapshot cannot be measured", snapshot=snapshot.id, error=error.detail)


def _figures(found: SelectionRoi) -> dict[str, float | None]:
    bets, counts = found.bets, found.counts
    percent = {
        "roi": bets.roi_pct,
        "roi_low": bets.roi_ci_low,
        "roi_high": bets.roi_ci_high,
        "mean_edge": found.mean_edge_pct,
        "clv": found.closing_line.clv_pct,
    }
    return {name: None if value is None else value / 100 for name, value in percent.items()} | {
        "settled": bets.n_bets,
        "open": counts["n_open_value_bets"],
        "profit": bets.profit,
        "drawdown": bets.max_drawdown,
        "accuracy": counts["accuracy"],
        "accuracy_market": counts["accuracy_market"],
        "accuracy_home": counts["accuracy_home"],
    }
