"""arq's format stays true: a stock worker does our jobs, a stock client uses our workers."""

import asyncio
import time
from threading import Event

import numpy as np
import pytest
from arq import Worker
from arq.connections import ArqRedis
from arq.jobs import Job as ArqJob
from arq.jobs import JobStatus
from arq.worker import func

from app.queue.client import QueueClient
from app.queue.jobs import Job, TaskStatus
from app.queue.redis import disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import loads, request_payload
from app.runtime import cancel_and_wait
from app.settings import Settings
from tests.support.live import MemorySource, a_job, model_thread
from tests.support.models import tiny_booster, tiny_rows
from tests.support.serving import until
from worker.batch_worker import BatchWorker
from worker.inference import predict_proba
from worker.main import stock_settings


async def is_gone(redis: ArqRedis, *names: str) -> bool:
    """Whether Redis has none of these keys."""
    return await redis.exists(*names) == 0


async def test_stock_worker_does_our_jobs(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis
) -> None:
    options = stock_settings(live_settings, source=lambda _: shelf_source)
    stock = Worker(**options, handle_signals=False, poll_delay=0.05)
    work = asyncio.create_task(stock.main())
    try:
        await until(lambda: is_ready(queue))
        rows = tiny_rows(8)
        answers = await asyncio.gather(
            *[queue.predict(await a_job(queue, row, match_id=n), timeout_s=8) for n, row in enumerate(rows)]
        )
        assert np.array([answer.proba for answer in answers]) == pytest.approx(
            predict_proba(tiny_booster(), rows), abs=1e-6
        )
        assert stock.jobs_complete == 8
        # nothing stays behind of those who waited
        names = RedisKeys(live_settings.queue_name)
        await until(lambda: is_gone(redis, names.waiter_count, names.deadlines))
    finally:
        await cancel_and_wait(work)
        await stock.close()
        await disconnect(options["redis_pool"])


async def test_stock_worker_and_ours_share_a_queue(
    queue: QueueClient,
    worker: BatchWorker,
    live_settings: Settings,
    shelf_source: MemorySource,
    redis: ArqRedis,
) -> None:
    """What is handed to ours the stock one leaves alone; what ours cannot take yet the stock one does."""
    options = stock_settings(live_settings, source=lambda _: shelf_source)
    stock = Worker(**options, handle_signals=False, poll_delay=0.05)
    end = Event()
    model_thread(worker).submit(end.wait)
    work = asyncio.create_task(stock.main())
    try:
        rows = tiny_rows(100)
        jobs = [await a_job(queue, row, match_id=n) for n, row in enumerate(rows)]
        asking = asyncio.gather(*[queue.predict(job, timeout_s=60) for job in jobs])
        await until(lambda: has_done(stock, 20), timeout_s=60)
        end.set()
        answers = await asking
        expected = predict_proba(tiny_booster(), rows)
        assert np.array_equal([answer.proba for answer in answers], expected)
        assert (worker.tally.done > 0, stock.jobs_complete + worker.tally.done) == (True, 100)
        names = RedisKeys(live_settings.queue_name)
        await until(lambda: is_gone(redis, names.waiter_count, names.deadlines, names.queue))
    finally:
        end.set()
        await cancel_and_wait(work)
        await stock.close()
        await disconnect(options["redis_pool"])


async def has_done(stock: Worker, n: int) -> bool:
    """Whether a stock worker has done so many jobs."""
    return stock.jobs_complete >= n


async def test_stock_client_uses_our_worker(
    queue: QueueClient, worker: BatchWorker, redis: ArqRedis, live_settings: Settings
) -> None:
    row = tiny_rows(1)[0]
    payload = request_payload(await a_job(queue, row))
    job = await redis.enqueue_job(Job.PREDICT_MATCH, payload)
    assert job is not None
    result = await job.result(timeout=5, poll_delay=0.02)
    assert result["proba"] == pytest.approx(predict_proba(tiny_booster(), row[np.newaxis])[0], abs=1e-6)
    assert await job.status() is JobStatus.complete
    info = await job.result_info()
    assert info is not None
    assert (info.function, info.success, info.job_try, info.queue_name) == (
        "predict_match", True, 1, live_settings.queue_name,
    )  # fmt: skip
    assert (await queue.status(job.job_id)).status is TaskStatus.DONE


async def test_stock_client_sees_our_jobs(queue: QueueClient, redis: ArqRedis, live_settings: Settings) -> None:
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    job = ArqJob(task_id, redis, live_settings.queue_name, loads)
    assert await job.status() is JobStatus.queued
    info = await job.info()
    assert info is not None
    assert (info.function, info.args[0]["match_id"]) == ("predict_match", 7)


async def test_stock_clients_deferred_job_waits(queue: QueueClient, worker: BatchWorker, redis: ArqRedis) -> None:
    payload = request_payload(await a_job(queue, tiny_rows(1)[0]))
    started = time.monotonic()
    job = await redis.enqueue_job(Job.PREDICT_MATCH, payload, _defer_by=0.8)
    assert job is not None
    assert (await queue.queues())[0].scheduled == 1
    await job.result(timeout=5, poll_delay=0.02)
    assert time.monotonic() - started > 0.75


async def test_our_worker_runs_arqs_other_functions(
    live_settings: Settings, worker: BatchWorker, redis: ArqRedis
) -> None:
    """A function without a batch form runs as arq runs it."""

    async def double(ctx: dict[str, object], number: int) -> int:
        return 2 * number

    worker.functions["double"] = func(double, name="double")
    job = await redis.enqueue_job("double", 21)
    assert job is not None
    assert await job.result(timeout=5, poll_delay=0.02) == 42


async def test_malformed_job_fails_alone(queue: QueueClient, worker: BatchWorker, redis: ArqRedis) -> None:
    job = await redis.enqueue_job(Job.PREDICT_MATCH, {"match_id": "seven"})
    assert job is not None
    assert (await job.result(timeout=5, poll_delay=0.02))["error"] == "prediction-failed"


async def test_nothing_in_redis_is_a_pickle(queue: QueueClient, worker: BatchWorker, redis: ArqRedis) -> None:
    task_id = (await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=5)).task_id
    worker.drain()
    waiting = await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=8))
    for key in (f"arq:result:{task_id}", f"arq:job:{waiting}"):
        assert loads(await redis.get(key))["f"] == Job.PREDICT_MATCH


async def is_ready(queue: QueueClient) -> bool:
    """Whether a worker holds the champion."""
    return any("champion" in worker.models for worker in await queue.workers())
