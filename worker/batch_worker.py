"""The arq worker that is woken, claims jobs in batches, and answers a batch at once."""

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

from app.errors import PredictionFailed, ServiceError
from app.queue import redis_keys
from app.queue.jobs import PredictionRequest, PredictionResult
from app.queue.redis import REDIS_ERRORS
from app.runtime import cancel_and_wait, run_in_background
from worker.heartbeat import WorkerCounters
from worker.leases import ClaimedJob, FinishedJob, Leases, Outcome

log = logging.getLogger(__name__)

BATCHES_AT_ONCE = 2  # one computes while the next one is fetched; those handed over are on top
HAND_OVER_S = 1.0  # how long jobs that were handed over as the worker stopped may be on their way
MAX_TRIES = 3
RETRY_PAUSE_S = 0.2
RECONNECT_S = 0.2
CLOCK_S = 5.0  # how often the clock is looked at; jobs enter the queue up to twice that early and wait there
STUCK_EXIT_CODE = 70

PredictBatch = Callable[[dict[Any, Any], Sequence[PredictionRequest]], Awaitable[list[Outcome]]]
BatchLimit = Callable[[dict[Any, Any]], int]
OnAnswered = Callable[[Sequence[PredictionRequest], Sequence[Outcome]], None]


class BatchWorker(Worker):
    """Predicts many matches at a time with `predict_batch`, and runs arq's other functions as arq does.

    Submitting the results of a batch claims the next one. A worker that finds none waits until it is handed jobs.
    """

    def __init__(
        self,
        *args: Any,
        predict_batch: PredictBatch,
        batch_limit: BatchLimit,
        leases: Leases,
        tally: WorkerCounters,
        on_answered: Sequence[OnAnswered] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, handle_signals=False, max_tries=MAX_TRIES, **kwargs)
        self._predict_batch = predict_batch
        self._batch_limit = batch_limit
        self._leases = leases
        self._on_answered = on_answered
        self.tally = tally
        # a thread cannot be stopped: the process ends, the pool starts another, and the jobs are tried again, alone
        self.on_stuck: Callable[[], None] = partial(os._exit, STUCK_EXIT_CODE)
        self.serving = asyncio.Event()  # set once the models are loaded
        self._names = redis_keys.RedisKeys(self.queue_name)
        self._wake = asyncio.Event()
        self._hand_over = leases.channel.encode()
        self._handed_over = asyncio.Event()
        self._computing = 0  # batches; while there is one, no jobs are handed over
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
            await stack.enter_async_context(run_in_background(self._leases.renew()))
            await stack.enter_async_context(
                run_in_background(self._leases.connection.run(self._receive, self._catch_up))
            )
            await stack.enter_async_context(run_in_background(self._keep_time()))
            await self._work()

    async def close(self) -> None:
        """Give back what is still in hand, then let go of everything."""
        await asyncio.gather(*[cancel_and_wait(task) for task in (*self._batches, *self.tasks.values())])
        with suppress(*REDIS_ERRORS):
            await self._leases.release(list(self._leases.held), was_tried=False)
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)

    async def _work(self) -> None:
        while self.allow_pick_jobs:
            self._wake.clear()
            more = False
            if len(self._batches) < BATCHES_AT_ONCE:
                try:
                    jobs, more = await self._leases.claim(self._limit(), may_wait=not self._computing)
                except REDIS_ERRORS as error:
                    log.warning("cannot claim jobs: %s", type(error).__name__)
                    await asyncio.sleep(RECONNECT_S)
                    continue
                if jobs:
                    self._start_batches(jobs)
                elif self.burst and await self._is_idle():
                    break
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(redis_keys.SAFETY_POLL_S):
                        await self._wake.wait()
        await self._stop_waiting()
        await asyncio.gather(*self._batches, *self.tasks.values())

    def _limit(self) -> int:
        return self._batch_limit(self.ctx) if self.allow_pick_jobs else 0

    def _start_batches(self, jobs: list[ClaimedJob]) -> None:
        task = asyncio.create_task(self._answer_batches(jobs), name="batch")
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _answer_batches(self, jobs: list[ClaimedJob]) -> None:
        """Answer a batch, and those that its results make room for."""
        while jobs:
            try:
                next_jobs = await self._answer_jobs(jobs)
            except Exception:
                log.exception("a batch failed; its jobs are tried again, alone")
                self._leases.forget(job.job_id for job in jobs)
                next_jobs = None
            if next_jobs is None:
                self._wake.set()  # nothing was claimed, so somebody has to look
                return
            jobs = next_jobs

    async def _stop_waiting(self) -> None:
        """Have no more jobs handed over, and answer those that are on their way."""
        self._handed_over.clear()
        try:
            is_awaited = await self._leases.stop_waiting()
        except REDIS_ERRORS:
            return  # what is handed over now is a lease that nobody renews
        if is_awaited:
            with suppress(TimeoutError):
                async with asyncio.timeout(HAND_OVER_S):
                    await self._handed_over.wait()

    async def _is_idle(self) -> bool:
        await asyncio.gather(*self._batches, *self.tasks.values())
        return int(await self.pool.zcard(self.queue_name)) == 0

    def _receive(self, channel: bytes, message: bytes) -> None:
        if channel == self._hand_over:
            self._accept(message)
        else:
            self._wake.set()

    async def _catch_up(self) -> None:
        self._wake.set()

    def _accept(self, message: bytes) -> None:
        try:
            jobs = self._leases.accept(message)
        except (ValueError, TypeError):
            # of another version: its leases expire, and the jobs are claimed
            log.exception("jobs that were handed over cannot be read")
            return
        self._start_batches(jobs)
        self._handed_over.set()

    async def _keep_time(self) -> None:
        """Put into the queue what is due by the clock; every worker does, and all but one are too late."""
        while self.cron_jobs:
            try:
                await self.run_cron(datetime.now(self.timezone), CLOCK_S)
            except REDIS_ERRORS as error:
                log.warning("what is due by the clock cannot be enqueued: %s", type(error).__name__)
            await asyncio.sleep(CLOCK_S)

    async def _answer_jobs(self, jobs: list[ClaimedJob]) -> list[ClaimedJob] | None:
        """Predict what can be predicted; give up, fail or run alone what cannot.

        Returns the jobs that were claimed with the results; None when nothing was claimed.
        """
        started_ms = round(time() * 1000)
        batch: list[tuple[ClaimedJob, PredictionRequest]] = []
        for job in jobs:
            if job.job_try > 1:
                self.tally.metrics.reclaimed.inc()
            if not job.is_readable:
                failure = PredictionFailed("The job expired, or its body cannot be read.")
                await self.submit_results([job.finish(failure, started_ms, queue=self.queue_name, success=False)])
            elif job.job_try > self.max_tries:
                await self._give_up([(job, f"given up after {self.max_tries} tries")])
            elif isinstance(job.request, PredictionRequest):
                batch.append((job, job.request))
            elif isinstance(job.request, ServiceError):
                self.tally.done += 1
                await self.submit_results([job.finish(job.request, started_ms, queue=self.queue_name)])
            else:
                await self._run_alone(job)
        return await self._predict(batch, started_ms) if batch else None

    async def _run_alone(self, job: ClaimedJob) -> None:
        """Run one of arq's functions, or one unknown to us, arq's own way."""
        await self.pool.decr(redis_keys.RETRY + job.job_id)  # arq counts the try itself
        task = asyncio.create_task(self.run_job(job.job_id, job.enqueued_ms))
        self.tasks[job.job_id] = task
        task.add_done_callback(lambda _: self._end_alone(job.job_id))

    def _end_alone(self, job_id: str) -> None:
        self.tasks.pop(job_id, None)
        self._leases.forget([job_id])

    async def _predict(
        self, batch: Sequence[tuple[ClaimedJob, PredictionRequest]], started_ms: int
    ) -> list[ClaimedJob] | None:
        requests = [request for _, request in batch]
        self._computing += 1
        try:
            async with asyncio.timeout(self.job_timeout_s):
                outcomes = await self._predict_batch(self.ctx, requests)
        except TimeoutError:  # before the others: it is an OSError too
            log.critical("%d jobs did not end within %.0f s; this process is stuck", len(batch), self.job_timeout_s)
            self.on_stuck()
            return None
        except REDIS_ERRORS as error:
            log.warning("%d jobs are released: %s", len(batch), type(error).__name__)
            job_ids = [job.job_id for job, _ in batch]
            await self._leases.release(job_ids, delay_s=RETRY_PAUSE_S, was_tried=False)
            return None
        finally:
            self._computing -= 1
        next_jobs = await self._submit_outcomes(batch, outcomes, started_ms)
        for on_answered in self._on_answered:
            try:
                on_answered(requests, outcomes)
            except Exception:
                # the next jobs are in hand, and nobody else would answer them
                log.exception("what follows an answer failed")
        return next_jobs

    async def _submit_outcomes(
        self, batch: Sequence[tuple[ClaimedJob, PredictionRequest]], outcomes: Sequence[Outcome], started_ms: int
    ) -> list[ClaimedJob] | None:
        started_at = started_ms / 1000
        waits_s = [started_at - request.enqueued_at for _, request in batch]
        self.tally.metrics.count_batch(waits_s, time() - started_at)
        finished, errors = [], []
        for (job, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, PredictionResult | ServiceError):
                finished.append(job.finish(outcome, started_ms, queue=self.queue_name))
            else:
                errors.append((job, outcome))
        self.tally.done += len(finished)
        if log.isEnabledFor(logging.DEBUG):
            self._log_each(batch, outcomes)
        if errors:
            await self._try_again(errors)
        return await self.submit_results(finished, claims_next=True)

    def _log_each(self, batch: Sequence[tuple[ClaimedJob, PredictionRequest]], outcomes: Sequence[Outcome]) -> None:
        for (job, _), outcome in zip(batch, outcomes, strict=True):
            with structlog.contextvars.bound_contextvars(**job.log_fields()):
                log.debug("%s answered: %s", job.job_id, type(outcome).__name__)

    async def _try_again(self, errors: list[tuple[ClaimedJob, Exception]]) -> None:
        exhausted = []
        for job, error in errors:
            with structlog.contextvars.bound_contextvars(**job.log_fields()):
                log.error("%s failed at try %d", job.job_id, job.job_try, exc_info=error)
            if job.job_try >= self.max_tries:
                exhausted.append((job, f"{type(error).__name__}: {error}"))
            else:
                self.tally.metrics.retries.inc()
                pause_s = RETRY_PAUSE_S * job.job_try
                await self._leases.release([job.job_id], delay_s=pause_s, was_tried=True)
        await self._give_up(exhausted)

    async def _give_up(self, exhausted: list[tuple[ClaimedJob, str]]) -> None:
        self.tally.failed += len(exhausted)
        self.tally.metrics.dead.inc(by=len(exhausted))
        for job, reason in exhausted:
            with structlog.contextvars.bound_contextvars(**job.log_fields()):
                log.error("%s is given up: %s", job.job_id, reason)
        await self.submit_results([job.give_up(reason, queue=self.queue_name) for job, reason in exhausted])

    async def submit_results(self, jobs: list[FinishedJob], *, claims_next: bool = False) -> list[ClaimedJob] | None:
        """Give results to Redis, however long it is away: their leases are renewed meanwhile.

        Returns the jobs that were claimed with it; None when nothing was to be claimed.
        """
        while jobs:
            limit = self._limit() if claims_next else 0
            try:
                ours, claimed, more = await self._leases.submit_and_claim(jobs, limit, may_wait=not self._computing)
            except REDIS_ERRORS as error:
                log.warning("cannot submit %d results: %s", len(jobs), type(error).__name__)
                await asyncio.sleep(RECONNECT_S)
                continue
            if ours < len(jobs):
                log.warning("%d results came too late: others took the jobs over", len(jobs) - ours)
            if more:
                self._wake.set()
            return claimed if limit else None
        return None
