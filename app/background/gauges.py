"""Gauges that are computed now and then: of each snapshot when it opens, and of the ledger's settled predictions."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import structlog

from app.domain.vocabulary import Staking
from app.errors import ServiceError
from app.ledger.database import AWAY
from app.ledger.evaluation import Rules, VersionQuality, evaluate_ledger, fetch_settled
from app.ledger.ledger import Ledger, NoLedger
from app.ledger.promotions import list_promotions
from app.settings import Settings
from app.store.roi import SelectionRoi, selection_roi
from app.store.selection import Selection
from app.store.snapshot import Snapshot
from app.store.snapshots import SnapshotChange
from app.telemetry.api_metrics import Metrics, ScoreMetrics

log = structlog.get_logger(__name__)

_NEWEST_ODDS = "SELECT epoch(max(captured_at)) FROM cards"


class SnapshotGauges:
    """Metrics of the snapshot that is served."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.artifacts
        self._scores = metrics.scores

    async def measure(self, change: SnapshotChange) -> None:
        """Measure a new snapshot; one that cannot be measured is served all the same."""
        if change.new is not change.old:
            await self._measure(change.new)
        for _ in range(change.n_swaps):
            self._metrics.swaps.inc()

    async def _measure(self, snapshot: Snapshot) -> None:
        try:
            rows = await snapshot.database.fetch(_NEWEST_ODDS)
            self._metrics.odds_at_s = rows[0][0]
            self._scores.set_bets(_figures(await selection_roi(snapshot, Selection(), Staking.FLAT)))
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


WINDOW = timedelta(days=365)
MIN_N = 30  # matches; the scores of fewer are noise
EVERY_S = 600.0  # the ledger is read whole, and results come a few times a day


async def follow_quality(ledger: Ledger | NoLedger, metrics: ScoreMetrics, settings: Settings) -> None:
    """Keep the gauges of quality current, for ever; without a database there is nothing to keep."""
    rules = Rules(settings.value_edge, settings.min_bets, MIN_N, settings.min_history)
    while ledger.database is not None:
        try:
            rows = await fetch_settled(await ledger.database.pool(), datetime.now(UTC) - WINDOW)
            found = await asyncio.to_thread(evaluate_ledger, rows, rules)
        except AWAY as error:
            log.warning("the ledger cannot be scored", error=f"{type(error).__name__}: {error}")
        else:
            metrics.set_quality(dict(pair for version in found.versions for pair in _figures_scoring(version)))
        await asyncio.sleep(EVERY_S)


PROMOTIONS_EVERY_S = 30.0
N_PROMOTIONS = 20


async def follow_promotions(
    ledger: Ledger | NoLedger, metrics: ScoreMetrics, settings: Settings, *, every_s: float = PROMOTIONS_EVERY_S
) -> None:
    """Keep the times of the newest promotions current, for ever; boards mark them."""
    while ledger.database is not None:
        try:
            found = await list_promotions(await ledger.database.pool(), settings.model_name, N_PROMOTIONS)
        except AWAY as error:
            log.warning("promotions cannot be read", error=f"{type(error).__name__}: {error}")
        else:
            # oldest first, so that the newest of two alike stays
            moved = [each for each in reversed(found) if each.has_moved]
            metrics.set_promotions(
                (
                    (each.action, each.alias, each.from_version or "none", each.to_version),
                    (each.ended_at or each.asked_at).timestamp(),
                )
                for each in moved
            )
        await asyncio.sleep(every_s)


def _figures_scoring(found: VersionQuality) -> Iterator[tuple[tuple[str, str, str], float]]:
    named = {"n": float(found.n)}
    if found.scores is not None:
        scores = found.scores
        named |= {"log_loss": scores.log_loss.value, "brier": scores.brier.value, "rps": scores.rps.value}
        named |= {"ece": scores.ece, "ece_floor": scores.ece_floor}
    for figure, value in named.items():
        yield (found.role.value, found.version, figure), value
