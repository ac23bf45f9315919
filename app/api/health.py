"""Whether the service lives, may get traffic, and what it has measured; open to all, never an error of its own."""

import asyncio
import os
from datetime import UTC, datetime

import psutil
import structlog
from aiohttp import web

from app import __version__, keys
from app.api.route import model_response
from app.errors import ServiceError
from app.ledger.database import DatabaseState
from app.queue.jobs import WorkerState
from app.schemas import HealthOut, LiveOut, PartOut, ReadyOut

log = structlog.get_logger(__name__)
_DATABASE_TIMEOUT_S = 0.05
_REDIS_TIMEOUT_S = 0.25
_PROCESS = psutil.Process(os.getpid())


async def get_livez(request: web.Request) -> LiveOut:
    """Whether the event loop turns; a restart helps when it does not."""
    return LiveOut(status="alive")


async def get_readyz(request: web.Request) -> web.Response:
    """Whether this process can answer from artifacts; `degraded` when live predictions or new artifacts cannot come."""
    snapshot, redis, workers = _snapshot_part(request.app), *await _queue_parts(request.app)
    is_ready = request.app[keys.SNAPSHOTS].current is not None
    parts = [snapshot, redis, workers]
    ready = ReadyOut(ready=is_ready, degraded=not all(part.ok for part in parts), parts=parts)
    return model_response(ready, status=200 if is_ready else 503)


async def get_health(request: web.Request) -> HealthOut:
    """This process, and whether the ledger's database answers within 50 ms."""
    database = await _database_state(request.app)
    # it reads a file of the kernel's, and files are not read on the loop
    memory = await asyncio.to_thread(_PROCESS.memory_info)
    return HealthOut(
        status="degraded" if database == "unreachable" else "ok",
        version=__version__,
        pid=os.getpid(),
        uptime_s=(datetime.now(UTC) - request.app[keys.STARTED_AT]).total_seconds(),
        memory_mb=memory.rss / 2**20,
        database=database,
    )


async def get_metrics(request: web.Request) -> web.Response:
    """All metrics, as Prometheus reads them."""
    metrics, snapshots = request.app[keys.METRICS], request.app[keys.SNAPSHOTS]
    if snapshots.current is not None:
        age_s = (datetime.now(UTC) - snapshots.current.manifest.built_at).total_seconds()
        metrics.set_snapshot(age_s, has_fault=snapshots.fault is not None)
    metrics.set_models(await _model_versions(request.app))
    body, media_type = metrics.text()
    return web.Response(body=body, headers={"Content-Type": media_type})


def _snapshot_part(app: web.Application) -> PartOut:
    snapshots = app[keys.SNAPSHOTS]
    if snapshots.current is None:
        return PartOut(name="snapshot", ok=False, detail=snapshots.fault or "being opened")
    opened_at = snapshots.current.opened_at.isoformat(timespec="seconds")
    served = f"{snapshots.current.id}, {snapshots.current.n_matches} matches, opened at {opened_at}"
    if snapshots.fault:
        return PartOut(name="snapshot", ok=False, detail=f"{snapshots.fault}; serving {served}")
    return PartOut(name="snapshot", ok=True, detail=served)


async def _queue_parts(app: web.Application) -> tuple[PartOut, PartOut]:
    try:
        async with asyncio.timeout(_REDIS_TIMEOUT_S):
            await app[keys.QUEUE].ping()
            workers = await app[keys.QUEUE].workers()
    except (ServiceError, TimeoutError) as error:
        detail = error.detail if isinstance(error, ServiceError) else f"no answer within {_REDIS_TIMEOUT_S:g} s"
        return PartOut(name="redis", ok=False, detail=detail), PartOut(name="workers", ok=False, detail="unknown")
    return PartOut(name="redis", ok=True, detail="answers"), _workers_part(workers)


def _workers_part(workers: list[WorkerState]) -> PartOut:
    # one that beats without a model answers nothing
    n_holding = sum(bool(worker.models) for worker in workers)
    return PartOut(name="workers", ok=n_holding > 0, detail=f"{n_holding} of {len(workers)} hold a model")


async def _model_versions(app: web.Application) -> dict[str, str]:
    try:
        async with asyncio.timeout(_REDIS_TIMEOUT_S):
            return {model.alias: model.version for model in await app[keys.QUEUE].models()}
    except (ServiceError, TimeoutError):
        return {}


async def _database_state(app: web.Application) -> DatabaseState:
    try:
        async with asyncio.timeout(_DATABASE_TIMEOUT_S):
            return await app[keys.LEDGER].database_state()
    except TimeoutError:
        return "unreachable"
    except Exception:
        # a probe that fails would have the process restarted, which mends no database
        log.exception("the database check failed")
        return "unreachable"
