"""The arq worker that is woken, takes jobs in batches, and answers a batch at once."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from functools import partial
from time import time
from typing import Any

import structlog
from arq import Worker

from app.queue import redis_keys
from app.queue.redis import REDIS_ERRORS
from app.queue.serialization import loads
from app.runtime import cancel_and_wait, run_in_background
from worker.claimed_job import ClaimedJob, lost_answer
from worker.heartbeat import WorkerCounters
from worker.leases import Answer, Claim, Leases
from worker.tasks import BatchItem, Outcome

log = logging.getLogger(__name__)

BATCH = 32  # half of 64 callers: the API answers one half while the model computes the other; 2,230 -> 2,600 a second
BATCHES_AT_ONCE = 2  # one computes while the next one is fetched
MAX_TRIES = 3
RETRY_PAUSE_S = 0.2
RECONNECT_S = 0.2
CLOCK_S = 5.0  # how often the clock is looked at; jobs enter the queue up to twice that early and wait there
STUCK_EXIT_CODE = 70

BatchTask = Callable[[dict[Any, Any], Sequence[BatchItem]], Awaitable[list[Outcome]]]
OnAnswered = Callable[[Sequence[BatchItem], Sequence[Outcome]], None]


class BatchWorker(Worker):
    """Runs `batch_tasks` many at a time, and arq's other functions as arq does."""

    def __init__(
        self, *args: Any, batch_tasks: dict[str, BatchTask], leases: Leases, tally: WorkerCounters, **kwargs: Any
    ) -> None:
        super().__init__(*args, handle_signals=False, max_tries=MAX_TRIES, **kwargs)
        self._batch_tasks = batch_tasks
        self._leases = leases
        self.tally = tally
        # a thread cannot be stopped: the process ends, the pool starts another, and the jobs are tried again, alone
        self.on_stuck: Callable[[], None] = partial(os._exit, STUCK_EXIT_CODE)
        self.on_answered: OnAnswered = lambda _calls, _outcomes: None
        self.serving = asyncio.Event()  # set once the models are loaded
        self._names = redis_keys.RedisKeys(self.queue_name)
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._batches: set[asyncio.Task[None]] = set()

    def drain(self) -> None:
        """Take no more jobs; `main` returns when those in hand are answered."""
        self.allow_pick_jobs = False
        self._wake.set()

    async def main(self) -> None:
        """Work until drained, or in burst mode until the queue is empty."""
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        self.serving.set()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(run_in_background(self._leases.keep()))
            await stack.enter_async_context(run_in_background(self._listen()))
            await stack.enter_async_context(run_in_background(self._keep_time()))
            await self._work()

    async def close(self) -> None:
        """Give back what is still in hand, then let go of everything."""
        await asyncio.gather(*[cancel_and_wait(task) for task in (*self._batches, *self.tasks.values())])
        with suppress(*REDIS_ERRORS):
            await self._leases.release_jobs(list(self._leases.held), was_tried=False)
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)

    async def _work(self) -> None:
        while self.allow_pick_jobs:
            await self._slots.acquire()
            self._wake.clear()
            try:
                claims, more = await self._leases.claim(BATCH)
                self.tally.metrics.reclaimed.inc(by=sum(claim.job_try > 1 for claim in claims))
            except REDIS_ERRORS as error:
                self._slots.release()
                log.warning("cannot take jobs: %s", type(error).__name__)
                await asyncio.sleep(RECONNECT_S)
                continue
            self._start(claims)
            if self.burst and not claims and await self._is_idle():
                return
            if not more:
                await self._woken()
        await asyncio.gather(*self._batches, *self.tasks.values())

    def _start(self, claims: list[Claim]) -> None:
        if not claims:
            self._slots.release()
            return
        task = asyncio.create_task(self._answer_all(claims), name="batch")
        self._batches.add(task)
        task.add_done_callback(lambda task: self._ended(task, claims))

    def _ended(self, task: "asyncio.Task[None]", claims: list[Claim]) -> None:
        self._batches.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a batch failed; its jobs are tried again, alone", exc_info=error)
            self._leases.forget(claim.job_id for claim in claims)

    async def _is_idle(self) -> bool:
        await asyncio.gather(*self._batches, *self.tasks.values())
        return int(await self.pool.zcard(self.queue_name)) == 0

    async def _woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(redis_keys.SAFETY_POLL_S):
                await self._wake.wait()

    async def _listen(self) -> None:
        while True:
            try:
                async with self.pool.pubsub() as subscription:
                    await subscription.subscribe(self._names.wake)
                    while True:
                        if await subscription.get_message(timeout=5.0) is not None:
                            self._wake.set()
            except REDIS_ERRORS as error:
                log.warning("subscription to %s lost: %s", self._names.wake, type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    async def _keep_time(self) -> None:
        """Put into the queue what is due by the clock; every worker does, and all but one are too late."""
        while self.cron_jobs:
            try:
                await self.run_cron(datetime.now(self.timezone), CLOCK_S)
            except REDIS_ERRORS as error:
                log.warning("what is due by the clock cannot be enqueued: %s", type(error).__name__)
            await asyncio.sleep(CLOCK_S)

    async def _answer_all(self, claims: list[Claim]) -> None:
        held = [held for claim in claims if (held := await self._held(claim)) is not None]
        for name, task in self._batch_tasks.items():
            jobs = [job for job in held if job.name == name]
            if jobs:
                await self._answer(jobs, task)

    async def _held(self, claim: Claim) -> ClaimedJob | None:
        """The job of a claim, unless it is over already."""
        if claim.job is None:
            await self.submit_results([lost_answer(claim, self.queue_name)])
            return None
        try:
            held = ClaimedJob(claim, loads(claim.job), self.queue_name)
        except (ValueError, KeyError, TypeError):
            await self.submit_results([lost_answer(claim, self.queue_name)])
            return None
        if claim.job_try > self.max_tries:
            await self._give_up([(held, f"given up after {self.max_tries} tries")])
            return None
        if held.name not in self._batch_tasks:
            await self._run_alone(held)
            return None
        return held

    async def _run_alone(self, held: ClaimedJob) -> None:
        """One of arq's functions, or one unknown to us: arq's own way."""
        job_id = held.claim.job_id
        await self.pool.decr(redis_keys.RETRY + job_id)  # arq counts the try itself
        task = asyncio.create_task(self.run_job(job_id, held.enqueued_ms))
        self.tasks[job_id] = task
        task.add_done_callback(lambda _: self._ran_alone(job_id))

    def _ran_alone(self, job_id: str) -> None:
        self.tasks.pop(job_id, None)
        self._leases.forget([job_id])

    async def _answer(self, jobs: list[ClaimedJob], task: BatchTask) -> None:
        started_ms = round(time() * 1000)
        answers, bugs = [], []
        calls = [job.call() for job in jobs]
        outcomes = await self._outcomes(jobs, calls, task)
        waits_s = [started_ms / 1000 - call.enqueued_at for call in calls]
        self.tally.metrics.count_batch(waits_s, time() - started_ms / 1000)
        for job, outcome in zip(jobs, outcomes, strict=False):
            if isinstance(outcome, Exception):
                bugs.append((job, outcome))
            else:
                answers.append(job.answer(outcome, started_ms, success=True))
        self.tally.done += len(answers)
        await self.submit_results(answers)
        self._tell(jobs, outcomes)
        if outcomes:
            self.on_answered(calls, outcomes)
        await self._try_again(bugs)

    def _tell(self, jobs: list[ClaimedJob], outcomes: list[Outcome]) -> None:
        """A line a job, where somebody wants as many."""
        if log.isEnabledFor(logging.DEBUG):
            for job, outcome in zip(jobs, outcomes, strict=False):
                with structlog.contextvars.bound_contextvars(**job.context()):
                    log.debug("%s answered: %s", job.claim.job_id, type(outcome).__name__)

    async def _outcomes(self, jobs: list[ClaimedJob], calls: list[BatchItem], task: BatchTask) -> list[Outcome]:
        """What the task makes of the jobs; nothing when they must be done another time."""
        try:
            async with asyncio.timeout(self.job_timeout_s):
                return await task(self.ctx, calls)
        except TimeoutError:  # before the others: it is an OSError too
            log.critical("%d jobs did not end within %.0f s; this process is stuck", len(jobs), self.job_timeout_s)
            self.on_stuck()
        except REDIS_ERRORS as error:
            log.warning("%d jobs are put back: %s", len(jobs), type(error).__name__)
            job_ids = [job.claim.job_id for job in jobs]
            await self._leases.release_jobs(job_ids, delay_s=RETRY_PAUSE_S, was_tried=False)
        return []

    async def _try_again(self, bugs: list[tuple[ClaimedJob, Exception]]) -> None:
        exhausted = []
        for job, error in bugs:
            with structlog.contextvars.bound_contextvars(**job.context()):
                log.error("%s failed at try %d", job.claim.job_id, job.claim.job_try, exc_info=error)
            if job.claim.job_try >= self.max_tries:
                exhausted.append((job, f"{type(error).__name__}: {error}"))
            else:
                self.tally.metrics.retries.inc()
                pause_s = RETRY_PAUSE_S * job.claim.job_try
                await self._leases.release_jobs([job.claim.job_id], delay_s=pause_s, was_tried=True)
        await self._give_up(exhausted)

    async def _give_up(self, exhausted: list[tuple[ClaimedJob, str]]) -> None:
        now_ms = round(time() * 1000)
        self.tally.failed += len(exhausted)
        self.tally.metrics.dead.inc(by=len(exhausted))
        for job, reason in exhausted:
            with structlog.contextvars.bound_contextvars(**job.context()):
                log.error("%s is given up: %s", job.claim.job_id, reason)
        await self.submit_results([job.dead(reason, now_ms) for job, reason in exhausted])

    async def submit_results(self, answers: list[Answer]) -> None:
        """Give the answers to Redis, however long it is away: they are renewed meanwhile."""
        while answers:
            try:
                ours = await self._leases.finish(answers)
            except REDIS_ERRORS as error:
                log.warning("cannot hand in %d answers: %s", len(answers), type(error).__name__)
                await asyncio.sleep(RECONNECT_S)
            else:
                if ours < len(answers):
                    log.warning("%d answers came too late: others took the jobs over", len(answers) - ours)
                return
