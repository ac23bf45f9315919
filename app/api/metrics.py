"""What the service has measured, and what a scrape reads from the rest of it."""

import asyncio
from time import monotonic, time

from aiohttp import web

from app import appkeys
from app.api.drift import find_newest_drift
from app.dependencies import LivePathStatus
from app.errors import ServiceError
from app.ledger.database import DatabaseState
from app.queue.jobs import ModelInfo
from app.telemetry.api_metrics import Metrics, ModelSeries
from app.telemetry.siblings import Siblings

SHARE_EVERY_S = 1.0
DRIFT_EVERY_S = 10.0  # the workers may have made a newer report
_LOOK_EVERY_S = 0.25  # a comparison in memory
_UP: dict[DatabaseState, int | None] = {"connected": 1, "unreachable": 0, "not_configured": None}


async def get_metrics(request: web.Request) -> web.Response:
    """All metrics, as Prometheus reads them; of all API processes on this port."""
    app = request.app
    await _measure(app)
    siblings = app[appkeys.SIBLINGS]
    body, media_type = app[appkeys.METRICS].text(siblings.state if siblings is not None else None)
    return web.Response(body=body, headers={"Content-Type": media_type})


async def share_metrics(app: web.Application, siblings: Siblings) -> None:
    """Tell the other API processes what this one has counted, and hear what they have, every second for ever."""
    while True:
        await _measure(app)
        await siblings.exchange(app[appkeys.METRICS].registry.state())
        await asyncio.sleep(SHARE_EVERY_S)


async def _measure(app: web.Application) -> None:
    metrics, pulse = app[appkeys.METRICS], app[appkeys.DEPENDENCIES]
    await pulse.refresh()
    live = pulse.live.value
    _set_live(metrics, live)
    held = None if live is None else {model.alias for model in live.models}
    metrics.live.set_aliases(app[appkeys.SETTINGS].model_aliases, held)
    metrics.up.set(pulse.live.fault is None, "redis")
    metrics.up.set(_UP[pulse.database_state], "database")
    metrics.ledger.follow(app[appkeys.LEDGER])
    metrics.listeners.set(app[appkeys.FEED].n_listeners)
    _set_queries(app, metrics)
    _set_snapshot(app, metrics)
    metrics.unchecked.follow(rate.unchecked if (rate := app[appkeys.RATE_LIMIT]) else 0)
    metrics.process.set(pulse.process.value)


async def follow_drift(app: web.Application) -> None:
    """Keep the gauge of drift current, for ever and without anybody asking; a scrape reads no report."""
    seen, due = "", 0.0
    while True:
        current = app[appkeys.SNAPSHOTS].current
        identity = current.id if current else ""
        if identity != seen or monotonic() > due:
            await _read_drift(app)
            seen, due = identity, monotonic() + DRIFT_EVERY_S
        await asyncio.sleep(_LOOK_EVERY_S)


async def _read_drift(app: web.Application) -> None:
    series = app[appkeys.METRICS].artifacts
    try:
        report = (await find_newest_drift(app)).report
    except (ServiceError, ValueError):
        # there is none, or it cannot be read
        series.drift.set(None)
        series.drift_at_s = None
    else:
        series.drift.set(report.score)
        series.drift_at_s = report.computed_at.timestamp()


def _set_live(metrics: Metrics, live: LivePathStatus | None) -> None:
    if live is None:
        # nobody knows, so nothing is said: an alert on absence is better than a number of yesterday's
        metrics.queue.clear()
        metrics.live.set_models([])
        return
    queue, state = metrics.queue, live.queues[0]
    for name, count in (("queued", state.queued), ("scheduled", state.scheduled), ("in_progress", state.in_progress)):
        queue.jobs.set(count, name)
    queue.oldest.set(state.oldest_age_s or 0.0)
    queue.dead.set(state.dead_letters)
    queue.drained.set(live.jobs_per_s)
    queue.workers.set(len(live.workers))
    queue.verified.set(live.n_verified)
    queue.memory.set(sum(worker.memory_mb * 1e6 for worker in live.workers))
    last = live.last_refresh
    queue.refresh_fault.set(None if last is None else float(last.fault is not None))
    queue.skew.clear()
    for process, skew_s in live.clock_skews.items():
        queue.skew.set(skew_s, process)
    metrics.live.set_models([_series(model) for model in live.models])


def _series(model: ModelInfo) -> ModelSeries:
    registered_at_s = model.registered_at.timestamp() if model.registered_at else None
    return ModelSeries(model.alias, model.name, model.version, model.run_id, registered_at_s)


def _set_queries(app: web.Application, metrics: Metrics) -> None:
    limiter, series = app[appkeys.QUERY_LIMITER], metrics.artifacts
    series.queries.follow(limiter.finished, "finished")
    series.queries.follow(limiter.refused, "refused")
    series.query_s.follow(limiter.busy_s)
    series.running.set(limiter.running)
    series.waiting.set(limiter.waiting)


def _set_snapshot(app: web.Application, metrics: Metrics) -> None:
    snapshots, series, now_s = app[appkeys.SNAPSHOTS], metrics.artifacts, time()
    series.fault.set(snapshots.fault is not None)
    current = snapshots.current
    if current is not None:
        series.age.set(now_s - current.manifest.built_at.timestamp())
        series.features_age.set(now_s - current.manifest.features_computed_at.timestamp())
        series.matches.set(current.n_matches)
        series.set_ages(now_s)
        series.follow_rendered(current.id, current.response_cache.hits, current.response_cache.misses)
