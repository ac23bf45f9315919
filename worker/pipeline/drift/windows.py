"""Which matches a check compares: those the champion was trained on, and those of the last year and to come."""

import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.artifacts import contract
from app.artifacts.manifest import read_manifest
from app.store.database import open_connection
from worker.pipeline.drift.samples import DriftJob

CURRENT_SPAN = timedelta(days=365)  # a season, so that the time of the year does not count as drift
CHECK_ROWS = 50_000  # a window; a check has time
_RESULTS = "SELECT min(kickoff_utc), max(kickoff_utc) FROM read_parquet($matches) WHERE status = 'finished'"


@dataclass(frozen=True, slots=True)
class Training:
    """What is known of the champion's training; None where nobody knows."""

    until: datetime | None = None
    features: tuple[str, ...] | None = None


class NothingToCompare(Exception):
    """The artifacts hold no result, so there is no window; the message says so."""


def check_job(artifacts: Path, training: Training, now: datetime) -> DriftJob:
    """The comparison for a folder of artifacts; NothingToCompare."""
    predictions = artifacts / contract.PREDICTIONS
    oldest, newest = _results(predictions)
    reference_until = training.until or _reported_until(artifacts) or newest - 2 * CURRENT_SPAN
    # a year fills the windows of form, where there are years to spare
    has_years = reference_until - oldest >= 2 * CURRENT_SPAN
    return DriftJob(
        matches=predictions,
        features=artifacts / contract.FEATURES,
        reference_since=oldest + CURRENT_SPAN if has_years else oldest,
        reference_until=reference_until,
        current_since=max(newest - CURRENT_SPAN, reference_until),
        computed_at=now,
        simulated=_simulated(artifacts),
        trained_on=training.features,
        rows=CHECK_ROWS,
    )


def _results(predictions: Path) -> tuple[datetime, datetime]:
    with closing(open_connection()) as connection:
        ((oldest, newest),) = connection.execute(_RESULTS, {"matches": str(predictions)}).fetchall()
    if newest is None:
        raise NothingToCompare("None of the matches has a result, so there is nothing to compare with.")
    return oldest, newest


def _reported_until(artifacts: Path) -> datetime | None:
    """The end of the reference of the report that came with the artifacts."""
    try:
        last = json.loads((artifacts / contract.DRIFT).read_bytes())["reference"]["to"]
        return datetime.fromisoformat(last).replace(tzinfo=UTC) + timedelta(days=1)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _simulated(artifacts: Path) -> bool | None:
    try:
        return read_manifest(artifacts).simulated
    except (OSError, ValueError):
        return None
