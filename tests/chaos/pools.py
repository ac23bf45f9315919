"""A Redis, a port and a pool of real worker processes for the chaos tests, and those who ask them."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from app.queue.client import QueueClient
from app.queue.jobs import PredictionResult
from app.settings import Settings
from infra.local.children import Child, Command
from infra.local.redis import Redis
from tests.support.live import a_job, settings_for
from tests.support.models import TinyRegistry, tiny_booster, tiny_rows
from tests.support.serving import until
from worker.inference import predict_proba


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
async def queue(settings: Settings, running_redis: list[Child]) -> AsyncIterator[QueueClient]:
    """The port."""
    async with QueueClient.open(settings) as queue:
        yield queue


@pytest.fixture
async def pool(settings: Settings, queue: QueueClient, tmp_path: Path) -> AsyncIterator[Child]:
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
        "MODEL_POLL_S": "0.5",
        "REDIS_SENTINELS": json.dumps(settings.redis_sentinels),
    }
    child = Child(Command("worker pool", [sys.executable, "-m", "worker", "--processes", "2"], log=log, env=env))
    try:
        yield child
    finally:
        await asyncio.to_thread(child.stop)


async def ask_many(queue: QueueClient, n: int, *, at_once: int = 1000) -> None:
    """Ask n different questions; each answer is the model's own."""
    rows = tiny_rows(n)
    limit = asyncio.Semaphore(at_once)

    async def ask(number: int) -> PredictionResult:
        async with limit:
            job = await a_job(queue, rows[number], match_id=number)
            return await queue.predict(job, timeout_s=30)

    results = await asyncio.gather(*[ask(number) for number in range(n)])
    answers = np.array([result.proba for result in results])
    assert answers == pytest.approx(predict_proba(tiny_booster(), rows), abs=1e-6)


async def has_workers(queue: QueueClient, n: int) -> bool:
    """Whether so many workers serve."""
    return sum("champion" in worker.models for worker in await queue.workers()) == n


async def is_at_work(queue: QueueClient) -> bool:
    """Whether workers have jobs in hand."""
    return (await queue.queues())[0].in_progress > 0


async def was_replaced(queue: QueueClient, pid: int) -> bool:
    """Whether two others serve."""
    return pid not in {worker.pid for worker in await queue.workers()} and await has_workers(queue, 2)


async def is_done(queue: QueueClient, task_id: str) -> bool:
    """Whether a task is done."""
    return (await queue.status(task_id)).status.value == "done"


def start(redis: Redis) -> Child:
    """A Redis that answers."""
    child = Child(redis.command())
    redis.wait_ready(child)
    return child
