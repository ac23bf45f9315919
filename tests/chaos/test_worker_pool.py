"""Real worker processes are killed under load; nobody's question is lost, and nothing is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
import pytest

from app.queue.jobs import PredictResult
from app.queue.port import PredictionQueue
from app.settings import Settings
from infra.local.children import Child, Command
from infra.local.redis import Redis
from tests.live import a_job, settings_for, until
from tests.models import TinyRegistry, tiny_booster, tiny_rows
from worker.inference import predict_proba

pytestmark = pytest.mark.timeout(180)  # processes that import MLflow

# a lease of three seconds, then work on a machine however busy; without leases it would be the 60 s of a job's timeout
RECOVERY_S = 30.0


@pytest.fixture
def redis_server(tmp_path: Path) -> Redis:
    """A Redis of this test's own."""
    return Redis(tmp_path / "redis")


@pytest.fixture
async def running_redis(redis_server: Redis) -> AsyncIterator[list[Child]]:
    """Its process, last in the list: a test may kill it and add another."""
    children = [await asyncio.to_thread(start, redis_server)]
    yield children
    await asyncio.to_thread(children[-1].stop)


@pytest.fixture
def settings(redis_server: Redis, registry: TinyRegistry) -> Settings:
    """Settings of the pool and the port."""
    return settings_for(redis_server.url, mlflow_tracking_uri=registry.uri)


@pytest.fixture
async def queue(settings: Settings, running_redis: list[Child]) -> AsyncIterator[PredictionQueue]:
    """The port."""
    async with PredictionQueue.open(settings) as queue:
        yield queue


@pytest.fixture
async def pool(settings: Settings, queue: PredictionQueue, tmp_path: Path) -> AsyncIterator[Child]:
    """Two worker processes, both ready."""
    async with a_pool(settings, tmp_path / "pool.log") as child:
        await until(lambda: has_workers(queue, 2), timeout_s=90)
        yield child


@asynccontextmanager
async def a_pool(settings: Settings, log: Path) -> AsyncIterator[Child]:
    env = {
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "QUEUE_NAME": settings.queue_name,
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MODEL_NAME": settings.model_name,
    }
    child = Child(Command("worker pool", [sys.executable, "-m", "worker", "--processes", "2"], log=log, env=env))
    try:
        yield child
    finally:
        await asyncio.to_thread(child.stop)


async def test_killed_worker_loses_no_question(queue: PredictionQueue, pool: Child) -> None:
    asking = asyncio.create_task(ask_many(queue, 3000))
    await until(lambda: is_at_work(queue))
    victim = (await queue.workers())[0].pid
    os.kill(victim, signal.SIGKILL)
    assert not asking.done()
    killed_at = monotonic()
    await asking
    assert monotonic() - killed_at < RECOVERY_S
    await until(lambda: was_replaced(queue, victim), timeout_s=30)


async def test_terminated_worker_finishes_what_it_has(queue: PredictionQueue, pool: Child) -> None:
    asking = asyncio.create_task(ask_many(queue, 3000))
    await asyncio.sleep(0.05)
    os.kill((await queue.workers())[0].pid, signal.SIGTERM)
    await asking


async def test_killed_redis_loses_no_question(
    queue: PredictionQueue, pool: Child, redis_server: Redis, running_redis: list[Child]
) -> None:
    """The workers live on, and answer what was accepted before the kill."""
    pids = {worker.pid for worker in await queue.workers()}
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # so that the questions are still there when Redis dies
    task_ids = [await queue.submit(await a_job(queue, row, match_id=n)) for n, row in enumerate(tiny_rows(50))]
    await asyncio.sleep(1.2)  # the append-only file is flushed every second
    os.kill(running_redis[-1].pid, signal.SIGKILL)
    running_redis[-1].wait(5)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    running_redis.append(await asyncio.to_thread(start, redis_server))
    for task_id in task_ids:
        await until(lambda task_id=task_id: is_done(queue, task_id), timeout_s=20)  # type: ignore[misc]
    await until(lambda: has_workers(queue, 2), timeout_s=20)
    assert {worker.pid for worker in await queue.workers()} == pids


async def test_killed_supervisor_leaves_no_process(queue: PredictionQueue, pool: Child) -> None:
    family = psutil.Process(pool.pid).children(recursive=True)
    assert len(family) >= 3
    os.kill(pool.pid, signal.SIGKILL)
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 15)
    assert not alive


async def test_stopped_pool_leaves_the_roster(queue: PredictionQueue, pool: Child) -> None:
    started = monotonic()
    await asyncio.to_thread(pool.stop)
    assert pool.exit_code == 0
    assert monotonic() - started < 10
    assert await queue.workers() == []


async def test_random_kills_give_one_answer_each(queue: PredictionQueue, pool: Child) -> None:
    """Ten thousand questions while workers die: none lost, none answered with other numbers than the model's."""
    asking = asyncio.create_task(ask_many(queue, 10_000, at_once=500))
    killed = 0
    while killed < 3 and not asking.done():
        await asyncio.sleep(0.7)
        alive = [worker.pid for worker in await queue.workers() if psutil.pid_exists(worker.pid)]
        if alive:
            os.kill(alive[0], signal.SIGKILL)
            killed += 1
    await asking
    assert killed >= 2


async def ask_many(queue: PredictionQueue, n: int, *, at_once: int = 1000) -> None:
    """Ask n different questions; each answer is the model's own."""
    rows = tiny_rows(n)
    limit = asyncio.Semaphore(at_once)

    async def ask(number: int) -> PredictResult:
        async with limit:
            job = await a_job(queue, rows[number], match_id=number)
            return (await queue.predict(job, timeout_s=30))[1]

    results = await asyncio.gather(*[ask(number) for number in range(n)])
    answers = np.array([result.proba for result in results])
    assert answers == pytest.approx(predict_proba(tiny_booster(), rows), abs=1e-6)


async def has_workers(queue: PredictionQueue, n: int) -> bool:
    """Whether so many workers serve."""
    return sum("champion" in worker.models for worker in await queue.workers()) == n


async def is_at_work(queue: PredictionQueue) -> bool:
    """Whether workers have jobs in hand."""
    return (await queue.queues())[0].in_progress > 0


async def was_replaced(queue: PredictionQueue, pid: int) -> bool:
    """Whether two others serve."""
    return pid not in {worker.pid for worker in await queue.workers()} and await has_workers(queue, 2)


async def is_done(queue: PredictionQueue, task_id: str) -> bool:
    """Whether a task is done."""
    return (await queue.status(task_id)).status.value == "done"


def start(redis: Redis) -> Child:
    """A Redis that answers."""
    child = Child(redis.command())
    redis.wait_ready(child)
    return child
