"""Scores the ledger's settled predictions now and then, for the metrics."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import structlog

from app.ledger.database import AWAY
from app.ledger.ledger import Ledger, NoLedger
from app.ledger.quality import Rules, VersionQuality, quality, settled_since
from app.settings import Settings
from app.telemetry.scores import ScoreMetrics

log = structlog.get_logger(__name__)
WINDOW = timedelta(days=365)
MIN_N = 30  # matches; the scores of fewer are noise
EVERY_S = 600.0  # the ledger is read whole, and results come a few times a day


async def follow_quality(ledger: Ledger | NoLedger, metrics: ScoreMetrics, settings: Settings) -> None:
    """Keep the gauges of quality current, for ever; without a database there is nothing to keep."""
    rules = Rules(settings.value_edge, settings.min_bets, MIN_N)
    while ledger.database is not None:
        try:
            rows = await settled_since(await ledger.database.pool(), datetime.now(UTC) - WINDOW)
            found = await asyncio.to_thread(quality, rows, rules)
        except AWAY as error:
            log.warning("the ledger cannot be scored", error=f"{type(error).__name__}: {error}")
        else:
            metrics.set_quality(dict(pair for version in found.versions for pair in _figures(version)))
        await asyncio.sleep(EVERY_S)


def _figures(found: VersionQuality) -> Iterator[tuple[tuple[str, str, str], float]]:
    named = {"n": float(found.n)}
    if found.scores is not None:
        scores = found.scores
        named |= {"log_loss": scores.log_loss.value, "brier": scores.brier.value, "rps": scores.rps.value}
        named["ece"] = scores.ece
    for figure, value in named.items():
        yield (found.role.value, found.version, figure), value
