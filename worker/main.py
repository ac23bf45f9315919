"""The table of contents of background work, and what a worker process is made of."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any
from uuid import uuid4

from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.typing import StartupShutdown
from arq.worker import Function, func

from app.queue.drift_reports import DriftReports
from app.queue.jobs import Job, PredictionRequest
from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.queue.redis_keys import HEARTBEAT_EVERY_S, RESULT, RedisKeys
from app.queue.serialization import dumps, loads
from app.queue.shadow_stream import ShadowStream
from app.queue.workers import WorkerRegistry
from app.runtime import ORPHANED, cancel_and_wait, freeze_gc, run_in_background
from app.settings import Settings
from app.telemetry.export import SpanExport, open_export
from worker import tasks
from worker.alias_job import ALIASES, AliasMover, move_alias
from worker.batch_worker import MAX_TRIES, BatchWorker, OnAnswered
from worker.drift_job import CHECK_TIMEOUT_S, DRIFT, DriftCheck, check_drift
from worker.heartbeat import HeartbeatPublisher, WorkerCounters
from worker.leases import Leases, Outcome
from worker.metrics import send_metrics
from worker.model_manager import ModelManager, ModelSource
from worker.shadow import ShadowModel
from worker.spans import job_spans

log = logging.getLogger(__name__)

JOB_TIMEOUT_S = 60.0
# how long a worker without its supervisor answers on: longer than a pool takes to start on a busy machine
HAND_OVER_S = 300.0
DRAIN_S = 10.0  # how long jobs in hand may take after SIGTERM; then others do them

# Every job there is. Add one: its name to app.queue.jobs.Job, its coroutine to worker.tasks, a line here.
FUNCTIONS: list[Function] = [
    func(tasks.predict_match, name=Job.PREDICT_MATCH, timeout=JOB_TIMEOUT_S, max_tries=MAX_TRIES),
    func(check_drift, name=Job.CHECK_DRIFT, timeout=CHECK_TIMEOUT_S, max_tries=MAX_TRIES),
    func(move_alias, name=Job.MOVE_ALIAS, timeout=JOB_TIMEOUT_S, max_tries=MAX_TRIES),
]


def cron_jobs(settings: Settings) -> list[CronJob]:
    """What is due by the clock, in UTC: once in all workers, whichever takes it."""
    if not settings.drift_hours:
        return []
    return [
        cron(
            check_drift,
            name=Job.CHECK_DRIFT,
            hour=set(settings.drift_hours),
            minute=0,
            timeout=CHECK_TIMEOUT_S,
            max_tries=MAX_TRIES,
            # while it is there, a worker whose clock is late does not do it once more
            keep_result=settings.result_ttl_s,
        )
    ]


Source = Callable[[Settings], ModelSource]


class Resources:
    """What jobs need, for our worker and for a stock arq one alike: models, their thread, and the beat."""

    def __init__(self, settings: Settings, *, source: Source | None = None) -> None:
        self._settings = settings
        self._source = source or _open_registry
        self._stack = AsyncExitStack()
        self.names = RedisKeys(settings.queue_name)
        self.counters = WorkerCounters()
        self.heartbeat: HeartbeatPublisher | None = None
        self.export: SpanExport | None = None
        self.shadow: ShadowModel | None = None
        self.on_answered: list[OnAnswered] = []  # called with each batch and what came of it

    async def startup(self, ctx: dict[Any, Any]) -> None:
        """Load the models while beating; returns when the worker is ready."""
        redis: ArqRedis = ctx["redis"]
        self.export = await self._open_export()
        if self.export is not None:
            self.on_answered.append(self._record_spans)
        model_thread = self._stack.enter_context(ThreadPoolExecutor(1, "model"))
        registry_thread = self._stack.enter_context(ThreadPoolExecutor(1, "registry"))
        models = ModelManager(
            self._settings.model_aliases,
            remembered=await _read_served_versions(redis, self.names),
            on_change=self._trigger_heartbeat,
        )
        self.heartbeat = HeartbeatPublisher(redis, self.names, models=models, counters=self.counters)
        self._stack.push_async_callback(self.heartbeat.unregister)
        await self._stack.enter_async_context(run_in_background(self.heartbeat.run()))
        loop = asyncio.get_running_loop()
        source = await loop.run_in_executor(registry_thread, self._source, self._settings)
        await models.load_initial(source, registry_thread)
        follow = models.follow_aliases(source, registry_thread, poll_s=self._settings.model_poll_s)
        await self._stack.enter_async_context(run_in_background(follow))
        context = ctx[tasks.CONTEXT] = tasks.PredictionContext(
            models, tasks.FeatureSets(redis, self.names), model_thread
        )
        ctx[ALIASES] = AliasMover(source, registry_thread)
        ctx[DRIFT] = DriftCheck(self._settings, DriftReports(redis, self.names), models)
        if self._settings.shadow_alias is not None:
            self.shadow = await self._open_shadow(redis, context, self._settings.shadow_alias)
            self.on_answered.append(self.shadow.follow)
        self._trigger_heartbeat()

    async def _open_shadow(self, redis: ArqRedis, context: tasks.PredictionContext, alias: str) -> ShadowModel:
        thread = ThreadPoolExecutor(1, "shadow")
        # a slow shadow does not hold up the end
        self._stack.callback(thread.shutdown, wait=False, cancel_futures=True)
        shadow_context = replace(context, thread=thread, may_use_loop=False)
        shadow = ShadowModel(shadow_context, alias, ShadowStream(redis, self.names))
        await self._stack.enter_async_context(run_in_background(shadow.run()))
        return shadow

    async def _open_export(self) -> SpanExport | None:
        headers = self._settings.otel_exporter_otlp_headers
        text = headers.get_secret_value() if headers else ""
        endpoint = self._settings.otel_exporter_otlp_endpoint
        # OpenTelemetry looks around the machine first
        export = await asyncio.to_thread(open_export, endpoint, "touchline-worker", headers=text)
        if export is not None:
            self._stack.push_async_callback(asyncio.to_thread, export.close)
        return export

    def _record_spans(self, requests: Sequence[PredictionRequest], outcomes: Sequence[Outcome]) -> None:
        if self.export is not None:
            for span in job_spans(requests, outcomes):
                self.export.record(span)

    async def shutdown(self, ctx: dict[Any, Any]) -> None:
        """Leave the roster, stop the threads."""
        ctx.pop(tasks.CONTEXT, None)
        ctx.pop(DRIFT, None)
        ctx.pop(ALIASES, None)
        await self._stack.aclose()

    async def announce(self, ctx: dict[Any, Any]) -> None:
        """Tell those who wait what a stock arq worker has written, and forget that they waited."""
        redis, job_id = ctx["redis"], ctx["job_id"]
        raw = await redis.get(RESULT + job_id)
        if raw is not None:
            result = loads(raw)
            async with redis.pipeline(transaction=False) as pipe:
                pipe.hdel(self.names.waiter_count, job_id)
                pipe.hdel(self.names.deadlines, job_id)
                pipe.publish(self.names.done, dumps([[job_id, result["s"], result["r"]]]))
                await pipe.execute()

    def _trigger_heartbeat(self) -> None:
        if self.heartbeat is not None:
            self.heartbeat.trigger_now()


async def _read_served_versions(redis: ArqRedis, names: RedisKeys) -> dict[str, str]:
    """Return the version that each alias last served; none when Redis does not know."""
    try:
        versions: dict[bytes, bytes] = await redis.hgetall(names.served_versions)  # type: ignore[misc]  # redis-py
    except REDIS_ERRORS:
        return {}
    return {alias.decode(): version.decode() for alias, version in versions.items()}


def stock_settings(settings: Settings, *, source: Source | None = None) -> dict[str, Any]:
    """Keyword arguments with which a stock `arq.Worker` does our jobs."""
    resources = Resources(settings, source=source)
    startup: StartupShutdown = resources.startup
    return {
        "functions": FUNCTIONS,
        "cron_jobs": cron_jobs(settings),
        "timezone": UTC,
        "queue_name": settings.queue_name,
        "redis_pool": connect(settings),
        "on_startup": startup,
        "on_shutdown": resources.shutdown,
        "after_job_end": resources.announce,
        "keep_result": settings.result_ttl_s,
        "job_serializer": dumps,
        "job_deserializer": loads,
    }


def make_worker(settings: Settings, redis: ArqRedis, *, source: Source | None = None, **options: Any) -> BatchWorker:
    """One worker on a connection; `options` are arq's, `source` stands in for the registry."""
    resources = Resources(settings, source=source)
    leases = Leases(redis, resources.names, owner=uuid4().hex, result_ttl_s=settings.result_ttl_s)
    return BatchWorker(
        FUNCTIONS,
        predict_batch=tasks.predict_batch,
        batch_limit=tasks.batch_limit,
        on_answered=resources.on_answered,
        cron_jobs=cron_jobs(settings),
        timezone=UTC,
        leases=leases,
        tally=resources.counters,
        queue_name=settings.queue_name,
        redis_pool=redis,
        on_startup=resources.startup,
        on_shutdown=resources.shutdown,
        after_job_end=resources.announce,
        keep_result=settings.result_ttl_s,
        job_serializer=dumps,
        job_deserializer=loads,
        **{"job_timeout": JOB_TIMEOUT_S} | options,
    )


async def serve(settings: Settings, *, source: Source | None = None, pipe: Connection | None = None) -> None:
    """Work until SIGTERM or SIGINT; then finish what is in hand. What is counted goes into `pipe`."""
    redis = connect(settings)
    worker = make_worker(settings, redis, source=source)
    stop, orphaned = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (ORPHANED, orphaned)):
        loop.add_signal_handler(signum, event.set)
    work = asyncio.create_task(worker.main(), name="worker")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        async with AsyncExitStack() as stack:
            if pipe is not None:
                await stack.enter_async_context(run_in_background(send_metrics(worker.tally.metrics, pipe)))
            stack.push_async_callback(worker.close)
            stack.push_async_callback(cancel_and_wait, work)
            await stack.enter_async_context(run_in_background(_freeze_gc_after(worker.serving)))
            await stack.enter_async_context(run_in_background(_hand_over(orphaned, redis, settings.queue_name, stop)))
            await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
            worker.drain()
            await asyncio.wait({work}, timeout=DRAIN_S if worker.serving.is_set() else 0)
    finally:
        stopping.cancel()
        await disconnect(redis)
    if not work.cancelled():
        work.result()  # a bug that ended it ends the process, and the pool starts another


async def _hand_over(orphaned: asyncio.Event, redis: ArqRedis, queue_name: str, stop: asyncio.Event) -> None:
    """After the death of supervisor or fork server, answer on until a worker begun later is ready; then stop."""
    await orphaned.wait()
    registry = WorkerRegistry(redis, RedisKeys(queue_name))
    orphaned_at, deadline = datetime.now(UTC), monotonic() + HAND_OVER_S
    log.warning("parent.lost: answering on until another worker is ready, at most %.0f s", HAND_OVER_S)
    host = socket.gethostname()
    while monotonic() < deadline:
        try:
            heartbeats = await registry.heartbeats()
        except REDIS_ERRORS:
            break  # nothing to answer
        if any(each.ready and each.worker.host == host and each.worker.started_at > orphaned_at for each in heartbeats):
            break
        await asyncio.sleep(HEARTBEAT_EVERY_S)
    stop.set()


async def _freeze_gc_after(serving: asyncio.Event) -> None:
    await serving.wait()
    with freeze_gc():
        await asyncio.Event().wait()  # until cancelled


def _open_registry(settings: Settings) -> ModelSource:
    # MLflow takes seconds to import, and the beat must go on meanwhile
    from worker.registry import ModelRegistry  # noqa: PLC0415

    return ModelRegistry(settings)
