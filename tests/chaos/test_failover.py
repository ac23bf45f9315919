"""The primary of Redis dies, a Sentinel names another; the same workers answer on."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from app.errors import ServiceError
from app.queue.client import QueueClient
from tests.chaos.pools import a_pool, ask_many, has_workers
from tests.support.build_redis import under_a_sentinel
from tests.support.live import a_job, settings_for
from tests.support.models import TinyRegistry, tiny_rows
from tests.support.serving import until

pytestmark = pytest.mark.timeout(600)  # processes that import MLflow


async def test_workers_follow_a_fail_over(registry: TinyRegistry, tmp_path: Path) -> None:
    with under_a_sentinel(tmp_path) as guarded:
        sentinels = (f"127.0.0.1:{guarded.sentinel_port}",)
        settings = settings_for("redis://", redis_sentinels=sentinels, mlflow_tracking_uri=registry.uri)
        async with QueueClient.open(settings) as queue, a_pool(settings, tmp_path / "pool.log"):
            await until(lambda: has_workers(queue, 2), timeout_s=90)
            await ask_many(queue, 200)
            pids = {worker.pid for worker in await queue.workers()}
            first = await asyncio.to_thread(guarded.primary_port)
            os.kill(guarded.primary.pid, signal.SIGKILL)
            await until(lambda: answers(queue), timeout_s=60)
            assert await asyncio.to_thread(guarded.primary_port) != first
            await until(lambda: has_workers(queue, 2), timeout_s=60)
            assert {worker.pid for worker in await queue.workers()} == pids
            await ask_many(queue, 200)


async def answers(queue: QueueClient) -> bool:
    """Whether a question is answered; until the fail-over is done there is a clear refusal."""
    try:
        await queue.predict(await a_job(queue, tiny_rows(1, seed=3)[0], match_id=999), timeout_s=5)
    except ServiceError:
        return False
    return True
