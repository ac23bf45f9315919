"""Whether the service lives and may get traffic; open to all, never an error of its own, and answered within 50 ms."""

import os
from datetime import UTC, datetime

from aiohttp import web

from app import __version__, appkeys
from app.api.route import model_response
from app.dependencies import LivePathStatus, Probe
from app.schemas import HealthOut, LiveOut, PartOut, ReadyOut, ReadyQuery


async def get_livez(request: web.Request) -> LiveOut:
    """Whether the event loop turns; a restart helps when it does not."""
    return LiveOut(status="alive")


async def get_readyz(request: web.Request, query: ReadyQuery) -> web.Response:
    """Whether all that answers need is there: a snapshot, Redis, a worker with the champion; 503 names what is not.

    `degraded` with 200 names what serves on in spite of a fault, such as a model whose alias the registry has lost.

    With `need=reads` only the snapshot counts: what a load balancer asks, so that reads go on while workers are away.
    """
    pulse = request.app[appkeys.DEPENDENCIES]
    await pulse.refresh()
    # a request that names no alias is answered by the first
    alias = request.app[appkeys.SETTINGS].model_aliases[0]
    redis, workers = _redis_part(pulse.live), _workers_part(pulse.live, alias)
    parts = [_snapshot_part(request.app), redis, workers, _models_part(pulse.live), *_refresh_parts(pulse.live)]
    # one that is stale serves on
    has_snapshot = request.app[appkeys.SNAPSHOTS].current is not None
    is_ready = has_snapshot and (query.need == "reads" or (redis.ok and workers.ok))
    ready = ReadyOut(ready=is_ready, degraded=not all(part.ok for part in parts), parts=parts)
    return model_response(ready, status=200 if is_ready else 503)


async def get_health(request: web.Request) -> HealthOut:
    """This process and the ledger: its database and its journal on disk.

    `degraded`, and still 200, while one of them is away: no restart mends it.
    """
    pulse = request.app[appkeys.DEPENDENCIES]
    await pulse.refresh()
    used, journal_fault = pulse.process.value, request.app[appkeys.LEDGER].fault
    return HealthOut(
        status="degraded" if pulse.database_state == "unreachable" or journal_fault else "ok",
        version=__version__,
        pid=os.getpid(),
        uptime_s=(datetime.now(UTC) - request.app[appkeys.STARTED_AT]).total_seconds(),
        memory_mb=used.memory_bytes / 2**20 if used else None,
        database=pulse.database_state,
        journal_fault=journal_fault,
    )


def _snapshot_part(app: web.Application) -> PartOut:
    snapshots = app[appkeys.SNAPSHOTS]
    if snapshots.current is None:
        return PartOut(name="snapshot", ok=False, detail=snapshots.fault or "being opened")
    opened_at = snapshots.current.opened_at.isoformat(timespec="seconds")
    served = f"{snapshots.current.id}, {snapshots.current.n_matches} matches, opened at {opened_at}"
    if snapshots.fault:
        return PartOut(name="snapshot", ok=False, detail=f"{snapshots.fault}; serving {served}")
    slow = snapshots.current.features.fault
    return PartOut(name="snapshot", ok=slow is None, detail=f"{slow}; {served}" if slow else served)


def _redis_part(live: Probe[LivePathStatus]) -> PartOut:
    return PartOut(name="redis", ok=live.fault is None, detail=live.fault or "answers")


def _workers_part(live: Probe[LivePathStatus], alias: str) -> PartOut:
    if live.value is None:
        return PartOut(name="workers", ok=False, detail="unknown")
    n_holders, n_alive = live.value.count_holders(alias), len(live.value.workers)
    return PartOut(name="workers", ok=n_holders > 0, detail=f"{n_holders} of {n_alive} hold a model as {alias}")


def _models_part(live: Probe[LivePathStatus]) -> PartOut:
    if live.value is None:
        return PartOut(name="models", ok=False, detail="unknown")
    faults = live.value.model_faults
    return PartOut(name="models", ok=not faults, detail="; ".join(faults) or "workers serve what the registry names")


def _refresh_parts(live: Probe[LivePathStatus]) -> list[PartOut]:
    """The last refresh of the artifacts, where a pipeline refreshes them; yesterday's are served when it fails."""
    last = live.value and live.value.last_refresh
    if not last:
        return []
    said = last.fault or f"{last.state} at {last.at:%Y-%m-%d %H:%M} UTC. {last.detail}".strip()
    return [PartOut(name="refresh", ok=last.fault is None, detail=said)]
