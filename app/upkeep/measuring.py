"""Measures each snapshot once, when it is opened: how old its odds are."""

import structlog

from app.errors import ServiceError
from app.store.snapshot import Snapshot
from app.telemetry.service import Metrics

log = structlog.get_logger(__name__)

_NEWEST_ODDS = "SELECT epoch(max(captured_at)) FROM cards"


class Measuring:
    """Told of each swap; tells the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics.artifacts

    async def __call__(self, _: Snapshot | None, snapshot: Snapshot) -> None:
        """Measure a new snapshot; one that cannot be measured is served all the same."""
        self._metrics.swaps.inc()
        try:
            rows = await snapshot.lake.fetch(_NEWEST_ODDS)
            self._metrics.odds_at_s = rows[0][0]
        except ServiceError as error:
            log.warning("a snapshot cannot be measured", snapshot=snapshot.id, error=error.detail)
