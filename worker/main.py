"""The table of contents of background work, and what a worker process is made of."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.typing import StartupShutdown
from arq.worker import Function, func

from app.queue.drift_reports import DriftReports
from app.queue.jobs import Job, PredictionRequest
from app.queue.redis import connect, disconnect
from app.queue.redis_keys import RESULT, RedisKeys
from app.queue.serialization import dumps, loads
from app.queue.shadow_stream import ShadowStream
from app.runtime import cancel_and_wait, freeze_gc, run_in_background
from app.settings import Settings
from app.telemetry.export import SpanExport, open_export
from worker import tasks
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
DRAIN_S = 10.0  # how long jobs in hand may take after SIGTERM; then others do them

# Every job there is. Add one: its name to app.queue.jobs.Job, its coroutine to worker.tasks, a line here.
FUNCTIONS: list[Function] = [
    func(tasks.predict_match, name=Job.PREDICT_MATCH, timeout=JOB_TIMEOUT_S, max_tries=MAX_TRIES),
    func(check_drift, name=Job.CHECK_DRIFT, timeout=CHECK_TIMEOUT_S, max_tries=MAX_TRIES),
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
        self.tally = WorkerCounters()
        self.beat: HeartbeatPublisher | None = None
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
        shelf = ModelManager(self._settings.model_aliases, on_change=self._hurry)
        self.beat = HeartbeatPublisher(redis, self.names, shelf=shelf, tally=self.tally)
        self._stack.push_async_callback(self.beat.retire)
        await self._stack.enter_async_context(run_in_background(self.beat.run()))
        loop = asyncio.get_running_loop()
        source = await loop.run_in_executor(registry_thread, self._source, self._settings)
        await shelf.fill(source, registry_thread)
        follow = shelf.follow(source, registry_thread, poll_s=self._settings.model_poll_s)
        await self._stack.enter_async_context(run_in_background(follow))
        desk = ctx[tasks.DESK] = tasks.PredictionContext(shelf, tasks.FeatureSets(redis, self.names), model_thread)
        ctx[DRIFT] = DriftCheck(self._settings, DriftReports(redis, self.names), shelf)
        if self._settings.shadow_alias is not None:
            self.shadow = await self._open_shadow(redis, desk, self._settings.shadow_alias)
            self.on_answered.append(self.shadow.follow)
        self._hurry()

    async def _open_shadow(self, redis: ArqRedis, desk: tasks.PredictionContext, alias: str) -> ShadowModel:
        thread = ThreadPoolExecutor(1, "shadow")
        # a slow shadow does not hold up the end
        self._stack.callback(thread.shutdown, wait=False, cancel_futures=True)
        shadow = ShadowModel(replace(desk, thread=thread), alias, ShadowStream(redis, self.names))
        await self._stack.enter_async_context(run_in_background(shadow.run()))
        return shadow

    async def _open_export(self) -> SpanExport | None:
        headers = self._settings.otel_exporter_otlp_headers
        told = headers.get_secret_value() if headers else ""
        endpoint = self._settings.otel_exporter_otlp_endpoint
        # OpenTelemetry looks around the machine first
        export = await asyncio.to_thread(open_export, endpoint, "touchline-worker", headers=told)
        if export is not None:
            self._stack.push_async_callback(asyncio.to_thread, export.close)
        return export

    def _record_spans(self, requests: Sequence[PredictionRequest], outcomes: Sequence[Outcome]) -> None:
        if self.export is not None:
            for span in job_spans(requests, outcomes):
                self.export.record(span)

    async def shutdown(self, ctx: dict[Any, Any]) -> None:
        """Leave the roster, stop the threads."""
        ctx.pop(tasks.DESK, None)
        ctx.pop(DRIFT, None)
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

    def _hurry(self) -> None:
        if self.beat is not None:
            self.beat.hurry()


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
        on_answered=resources.on_answered,
        cron_jobs=cron_jobs(settings),
        timezone=UTC,
        leases=leases,
        tally=resources.tally,
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
    telling = asyncio.create_task(
        send_metrics(worker.tally.metrics, pipe) if pipe else asyncio.sleep(0), name="metrics"
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    work = asyncio.create_task(worker.main(), name="worker")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    settling = asyncio.create_task(_settled_from(worker.serving), name="settle")
    try:
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        worker.drain()
        await asyncio.wait({work}, timeout=DRAIN_S if worker.serving.is_set() else 0)
    finally:
        stopping.cancel()
        await cancel_and_wait(settling)
        await cancel_and_wait(work)
        await worker.close()
        await cancel_and_wait(telling)
        await disconnect(redis)
    if not work.cancelled():
        work.result()  # a bug that ended it ends the process, and the pool starts another


async def _settled_from(serving: asyncio.Event) -> None:
    await serving.wait()
    with freeze_gc():
        await asyncio.Event().wait()  # until cancelled


def _open_registry(settings: Settings) -> ModelSource:
    # MLflow takes seconds to import, and the beat must go on meanwhile
    from worker.registry import ModelRegistry  # noqa: PLC0415

    return ModelRegistry(settings)
