"""The drift report of a snapshot.

Alone because the store has one module a data set.
"""

import asyncio

from app.artifacts.contract import DRIFT, DRIFT_HTML, DriftReport
from app.errors import ReportMissing
from app.store.snapshot import Snapshot


async def read_drift(snapshot: Snapshot) -> DriftReport:
    """The newest drift report."""
    return DriftReport.model_validate_json(await _read(snapshot, DRIFT))


async def read_drift_page(snapshot: Snapshot) -> bytes:
    """The newest drift report as a page for people; ReportMissing when the pipeline made none."""
    return await _read(snapshot, DRIFT_HTML)


async def _read(snapshot: Snapshot, name: str) -> bytes:
    try:
        return await asyncio.to_thread((snapshot.folder / name).read_bytes)
    except FileNotFoundError:
        raise ReportMissing(f"{name} is not among the artifacts.") from None
