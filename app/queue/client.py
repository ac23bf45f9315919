"""The API's client of the worker pool: submit requests, wait for results, and see which workers are alive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import time

from arq.connections import ArqRedis

from app.errors import NoWorker, PredictionTimeout, QueueFull, ServiceError, TaskBusy, TaskNotFound
from app.queue import redis_keys
from app.queue.alias_moves import AliasMoves
from app.queue.drift_reports import DriftReports
from app.queue.hot_connection import HotConnection
from app.queue.jobs import (
    ModelInfo,
    Payload,
    PredictionRequest,
    PredictionResult,
    QueueState,
    TaskState,
    TaskStatus,
    WorkerState,
)
from app.queue.pending_results import PendingResults
from app.queue.redis import REDIS_ERRORS, RedisClock, connect, convert_redis_errors, disconnect
from app.queue.redis_keys import IN_PROGRESS, RedisKeys
from app.queue.refreshes import LastRefresh, Refreshes
from app.queue.results import NOT_FOUND, Outcome, ResultListener
from app.queue.serialization import decode_request, decode_result, derive_task_id, loads, name_feature_set
from app.queue.submit import BUSY, UNKNOWN, Submitter
from app.queue.workers import WorkerRegistry
from app.runtime import run_in_background
from app.settings import Settings

PROBE_TTL_MS = 60_000
HEAD = 1_000  # running jobs are the oldest, so they stand at the head of the queue


async def queue_state(redis: ArqRedis, names: RedisKeys) -> QueueState:
    """Count a queue's jobs by what they wait for."""
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds // 1000
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcard(names.queue)
        pipe.zcount(names.queue, f"({now_ms}", "+inf")
        pipe.zrange(names.queue, 0, HEAD - 1, withscores=True)
        pipe.zcard(names.dead)
        total, scheduled, head, dead_letters = await pipe.execute()
    running = int(await redis.exists(*[IN_PROGRESS + job_id.decode() for job_id, _ in head])) if head else 0
    oldest_ms = head[0][1] if head else None
    return QueueState(
        name=names.queue,
        queued=max(total - scheduled - running, 0),
        scheduled=scheduled,
        in_progress=running,
        oldest_age_s=None if oldest_ms is None else max((now_ms - oldest_ms) / 1000, 0.0),
        dead_letters=dead_letters,
    )


LONGEST_RETRY_S = 60.0


class QueueClient:
    """Submits requests to the workers. Every method raises QueueUnavailable when Redis cannot be reached."""

    def __init__(self, redis: ArqRedis, settings: Settings) -> None:
        self._redis = redis
        self._limit = settings.queue_limit
        self._names = RedisKeys(settings.queue_name)
        self._registry = WorkerRegistry(redis, self._names)
        self._news = asyncio.Event()
        self._listener = ResultListener(redis, on_news=self._note_news)
        self._connection = HotConnection(redis, [self._names.done])
        self._announced: dict[str, tuple[str, ...]] = {}
        self._clock = RedisClock()
        self._submitter = Submitter(
            redis,
            self._names,
            limit=settings.queue_limit,
            feature_sets=self._announced,
            clock=self._clock,
            connection=self._connection,
        )
        self._pending_results = PendingResults(redis, self._names)
        self.reports = DriftReports(redis, self._names)
        self.aliases = AliasMoves(redis, self._names)
        self._refreshes = Refreshes(redis, self._names)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator["QueueClient"]:
        """Open the client; Redis need not be there yet."""
        async with AsyncExitStack() as stack:
            redis = connect(settings)
            stack.push_async_callback(disconnect, redis)
            queue = cls(redis, settings)
            stack.push_async_callback(queue._submitter.close)
            follow = queue._connection.run(queue._listener.receive, queue._catch_up)
            await stack.enter_async_context(run_in_background(follow))
            await stack.enter_async_context(run_in_background(queue._listener.poll()))
            await stack.enter_async_context(run_in_background(queue._keep_announced()))
            yield queue

    async def predict(self, request: PredictionRequest, *, timeout_s: float) -> PredictionResult:
        """Submit a request and wait for its result, which identical requests share.

        Raises QueueFull, NoWorker, ModelNotFound, FeaturesMismatch, ExplanationUnavailable, PredictionFailed, and
        PredictionTimeout with the `task_id` in its extras.
        """
        try:
            with convert_redis_errors():
                versions = await self._registry.versions(request.alias)
        except NoWorker:
            # where Redis takes no writes the workers live, but cannot say so
            await self.check_redis()
            raise
        task_id = derive_task_id(self._names.queue, request, versions)
        try:
            async with asyncio.timeout(timeout_s):
                outcome = await self._wait_for_outcome(task_id, request, versions)
        except TimeoutError:
            detail = f"No answer within {timeout_s:g} s; the task can still be polled."
            raise PredictionTimeout(detail, task_id=task_id) from None
        except asyncio.CancelledError:
            self._submitter.withdraw(task_id)
            raise
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome

    async def submit(self, request: PredictionRequest) -> str:
        """Submit a request and return its task's id. It waits until its deadline, also for a worker to come."""
        with convert_redis_errors():
            heartbeats = await self._registry.heartbeats()
            versions = await self._registry.versions(request.alias) if heartbeats else frozenset[str]()
        task_id = derive_task_id(self._names.queue, request, versions)
        await self._put(task_id, request, versions)
        return task_id

    async def note(self, task_id: str, about: bytes) -> None:
        """Have the result of a task that nobody waits for looked for; `about` is returned with it."""
        with convert_redis_errors():
            await self._pending_results.note(task_id, about)

    async def cancel(self, task_id: str) -> None:
        """Take a waiting task out of the queue; TaskNotFound, or TaskBusy when it is too late or others want it."""
        with convert_redis_errors():
            reply = await self._submitter.cancel(task_id)
        if reply == UNKNOWN:
            raise _not_found(task_id)
        if reply == BUSY:
            raise TaskBusy(f"Task {task_id} is running or done, or others wait for it too.", task_id=task_id)

    async def status(self, task_id: str) -> TaskState:
        """Where a task is; TaskNotFound when there is none, or its answer has expired."""
        with convert_redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(redis_keys.RESULT + task_id)
                pipe.exists(redis_keys.IN_PROGRESS + task_id)
                pipe.get(redis_keys.JOB + task_id)
                result, is_running, job = await pipe.execute()
        if result is not None:
            return _finished(task_id, loads(result))
        if job is None:
            raise _not_found(task_id)
        status = TaskStatus.RUNNING if is_running else TaskStatus.QUEUED
        return TaskState(task_id, status, decode_request(loads(job)["a"][0]))

    async def announce_features(self, names: tuple[str, ...]) -> str:
        """Tell the workers the order of the columns in feature rows; what to put into `PredictionRequest.feature_set`.

        Never fails: what Redis could not take now it gets when it is back.
        """
        feature_set = name_feature_set(names)
        self._announced[feature_set] = names
        with suppress(*REDIS_ERRORS):
            await self._announce_again()
        return feature_set

    async def models(self) -> list[ModelInfo]:
        """The models that workers hold."""
        with convert_redis_errors():
            return await self._registry.models()

    async def wait_for_news(self, *, timeout_s: float) -> None:
        """Until workers say that they hold other models, or that time is over; for one who waits."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()

    async def workers(self) -> list[WorkerState]:
        """The living workers."""
        with convert_redis_errors():
            return await self._registry.workers()

    async def queues(self) -> list[QueueState]:
        """What waits."""
        with convert_redis_errors():
            return [await queue_state(self._redis, self._names)]

    async def last_refresh(self) -> LastRefresh | None:
        """What came of the last refresh of the artifacts; None when nobody refreshes them."""
        with convert_redis_errors():
            return await self._refreshes.newest()

    async def jobs_per_s(self) -> float:
        """How fast the workers answer at present."""
        with convert_redis_errors():
            return await self._registry.jobs_per_s()

    async def check_redis(self) -> None:
        """Raise QueueUnavailable unless Redis answers and takes writes; note what its clock says."""
        with convert_redis_errors():
            sent_at = time()
            self._clock.observe(await self._redis.time(), sent_at)
            await self._redis.set(self._names.probe, b"", px=PROBE_TTL_MS)

    async def clock_skews(self) -> dict[str, float]:
        """Return how many seconds the clocks of this process (`api`) and of the workers are ahead of Redis."""
        with convert_redis_errors():
            return {"api": -self._clock.offset_s} | await self._registry.clock_skews()

    def _note_news(self) -> None:
        self._registry.invalidate()
        self._news.set()

    async def _catch_up(self) -> None:
        await self._announce_again()
        self._note_news()

    async def _keep_announced(self) -> None:
        while True:
            await asyncio.sleep(redis_keys.FEATURES_AGAIN_S)
            # Redis away now: they are announced when the subscription is back
            with suppress(*REDIS_ERRORS):
                await self._announce_again()

    async def _announce_again(self) -> None:
        # a copy: another snapshot may be announced meanwhile
        await self._submitter.write_features(list(self._announced))

    async def _wait_for_outcome(
        self, task_id: str, request: PredictionRequest, versions: frozenset[str]
    ) -> PredictionResult | ServiceError:
        """Put a job into the queue and wait for what comes of it.

        Again when Redis knows the task no more: it had not reached a primary that took over, or its job was dropped
        at the deadline of an earlier caller.
        """
        outcome: Outcome = NOT_FOUND
        while outcome is NOT_FOUND:
            with self._listener.expect(task_id) as waiter:
                known = await self._put(task_id, request, versions)
                outcome = await waiter if known is None else known
        return outcome

    async def _put(self, task_id: str, request: PredictionRequest, versions: frozenset[str]) -> PredictionResult | None:
        """Put a job into the queue; the result when a sound one is known already."""
        reply = await self._submitter.put(task_id, request)
        if isinstance(reply, bytes):
            result = loads(reply)
            outcome = decode_result(task_id, result["s"], result["r"], is_known=True)
            # a failure may have passed, and a version may have gone and come back
            if isinstance(outcome, PredictionResult) and outcome.model_version in versions:
                return outcome
            reply = await self._submitter.put(task_id, request, anew=True)
        if isinstance(reply, int) and reply < 0:
            jobs_per_s = await self.jobs_per_s()
            raise QueueFull(f"{-reply} jobs are waiting.", retry_after_s=_retry_after_s(self._limit, jobs_per_s))
        return None


def _retry_after_s(limit: int, jobs_per_s: float) -> float:
    """When a tenth of the queue will have drained."""
    return min(max(limit / 10 / jobs_per_s, 1.0), LONGEST_RETRY_S) if jobs_per_s else 5.0


def _not_found(task_id: str) -> TaskNotFound:
    return TaskNotFound(f"No task {task_id}, or its result has expired.", task_id=task_id)


def _finished(task_id: str, result: Payload) -> TaskState:
    request = decode_request(result["a"][0]) if result["a"] else None  # its body had expired
    outcome = decode_result(task_id, result["s"], result["r"])
    if isinstance(outcome, ServiceError):
        return TaskState(task_id, TaskStatus.FAILED, request, error=outcome.code, detail=outcome.detail)
    return TaskState(task_id, TaskStatus.DONE, request, outcome)
