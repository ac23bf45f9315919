"""Drift of features and predicted probabilities: the newest report, whoever made it."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import structlog
from aiohttp import web
from pydantic import ValidationError

from app import appkeys
from app.artifacts.contract import DriftReport
from app.errors import ReportMissing, ServiceError
from app.queue.drift_reports import LastCheck
from app.queue.redis import REDIS_ERRORS
from app.schemas import DriftCheckOut, DriftFeatureOut, DriftOut
from app.store import reports

log = structlog.get_logger(__name__)

_REDIS_TIMEOUT_S = 1.0  # the report of the artifacts is as good as none that is newer


@dataclass(frozen=True, slots=True)
class NewestDrift:
    """A report, where it is from, and what came of the workers' last check."""

    report: DriftReport
    origin: Literal["artifacts", "check"]
    last_check: LastCheck | None


async def find_newest_drift(app: web.Application) -> NewestDrift:
    """The newer of the artifacts' report and the workers'; a ServiceError when there is neither."""
    checked, last_check = await _checked(app)
    try:
        async with app[appkeys.SNAPSHOTS].reading() as snapshot:
            published = await reports.read_drift(snapshot)
    except ServiceError:
        if checked is None:
            raise
        return NewestDrift(checked, "check", last_check)
    if checked is not None and checked.computed_at > published.computed_at:
        return NewestDrift(checked, "check", last_check)
    return NewestDrift(published, "artifacts", last_check)


async def get_drift(request: web.Request) -> DriftOut:
    """The newest drift report and its age."""
    found = await find_newest_drift(request.app)
    now = datetime.now(UTC)
    report = found.report
    return DriftOut(
        **report.model_dump(exclude={"simulated", "features", "probabilities"}),
        age_s=(now - report.computed_at).total_seconds(),
        origin=found.origin,
        last_check=_check_out(found.last_check, now),
        features=[DriftFeatureOut(**each.model_dump()) for each in report.features],
        probabilities=[DriftFeatureOut(**each.model_dump()) for each in report.probabilities],
    )


async def get_drift_report(request: web.Request) -> web.Response:
    """The newest drift report as a page for people."""
    # the page may show itself, and may not reach this service in the reader's name
    headers = {"Content-Security-Policy": "sandbox allow-scripts"}
    page = await _page(request.app)
    return web.Response(body=page, content_type="text/html", charset="utf-8", headers=headers)


async def _page(app: web.Application) -> bytes:
    if (await find_newest_drift(app)).origin == "artifacts":
        async with app[appkeys.SNAPSHOTS].reading() as snapshot:
            return await reports.read_drift_page(snapshot)
    page = await app[appkeys.QUEUE].reports.page()
    if page is None:
        raise ReportMissing("The workers' report has no page.")
    return page


async def _checked(app: web.Application) -> tuple[DriftReport | None, LastCheck | None]:
    try:
        async with asyncio.timeout(_REDIS_TIMEOUT_S):
            raw, last_check = await app[appkeys.QUEUE].reports.newest()
    except (*REDIS_ERRORS, TimeoutError):
        return None, None
    try:
        return None if raw is None else DriftReport.model_validate_json(raw), last_check
    except ValidationError:
        log.warning("the workers' drift report cannot be read")
        return None, last_check


def _check_out(check: LastCheck | None, now: datetime) -> DriftCheckOut | None:
    if check is None:
        return None
    return DriftCheckOut(state=check.state, detail=check.detail, at=check.at, age_s=(now - check.at).total_seconds())
