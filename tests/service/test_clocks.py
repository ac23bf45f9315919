"""Hosts whose clocks differ: what is due, and until when, is decided by the clock of Redis alone."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from app.errors import PredictionTimeout
from app.queue.client import QueueClient
from app.queue.jobs import TaskStatus
from app.queue.redis import RedisClock
from app.queue.redis_keys import RedisKeys
from app.settings import Settings
from infra.local.children import Child, Command
from tests.support.live import MemorySource, a_job, serving
from tests.support.models import tiny_rows
from tests.support.serving import until
from worker.leases import Leases

pytestmark = pytest.mark.timeout(300)  # each starts a worker process


@contextmanager
def shifted_worker(settings: Settings, shift_s: float, folder: Path) -> Iterator[Child]:
    """A worker process whose clock is so far ahead."""
    env = {
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "QUEUE_NAME": settings.queue_name,
        "MODEL_ALIASES": '["champion"]',
        "DRIFT_HOURS": "[]",
    }
    argv = [sys.executable, "-m", "tests.support.shifted_worker", str(shift_s)]
    child = Child(Command("worker", argv, log=folder / f"worker{shift_s:+g}.log", env=env))
    try:
        yield child
    finally:
        child.stop()


@pytest.mark.parametrize("shift_s", [-90.0, 90.0])
async def test_worker_whose_clock_is_wrong_works_as_any_other(
    live_settings: Settings, tmp_path: Path, shift_s: float
) -> None:
    """One behind answered as much later as its clock was; one ahead took every deadline for passed."""
    async with QueueClient.open(live_settings) as queue:
        with shifted_worker(live_settings, shift_s, tmp_path):

            async def holds_the_champion() -> bool:
                return any("champion" in worker.models for worker in await queue.workers())

            await until(holds_the_champion, timeout_s=200)
            started = time.monotonic()
            result = await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=80)
            assert time.monotonic() - started < 60
            assert result.queue_ms < 60_000
            late = await a_job(queue, tiny_rows(2)[1], deadline_at=time.time() - 0.5)
            with pytest.raises(PredictionTimeout, match="deadline passed"):
                await queue.predict(late, timeout_s=60)
            await queue.check_redis()
            skews = await queue.clock_skews()
            assert abs(skews.pop("api")) < 5
            (skew_s,) = skews.values()
            assert skew_s == pytest.approx(shift_s, abs=20)  # a busy machine takes its time from beat to Redis


async def test_skew_of_this_process_is_measured(
    queue: QueueClient, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shifted API: its jobs are due by the clock of Redis, its deadlines as long as they were asked for."""
    real = time.time
    for module in ("app.queue.client", "app.queue.submit", "app.queue.redis"):
        monkeypatch.setattr(f"{module}.time", lambda: real() - 30)
    await queue.check_redis()
    assert (await queue.clock_skews())["api"] == pytest.approx(-30, abs=1)
    request = await a_job(queue, tiny_rows(1)[0], deadline_at=real() - 30 + 5)
    task_id = await queue.submit(request)
    state = await queue.status(task_id)
    assert state.request is not None
    # the body is read by stock workers, on the clock of Redis
    assert state.request.deadline_at == pytest.approx(real() + 5, abs=2)
    (waiting,) = await queue.queues()
    assert (waiting.queued, waiting.scheduled) == (1, 0)
    monkeypatch.undo()
    async with serving(live_settings, MemorySource()):

        async def is_done() -> bool:
            return (await queue.status(task_id)).status is TaskStatus.DONE

        await until(is_done)


async def test_released_job_is_due_by_the_clock_of_redis(
    queue: QueueClient, live_settings: Settings, redis: ArqRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = RedisKeys(live_settings.queue_name)
    real = time.time
    monkeypatch.setattr("worker.leases.time", lambda: real() - 30)
    leases = Leases(redis, names, owner="skewed", result_ttl_s=60)
    await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    (job,), _ = await leases.claim(10)
    await leases.release([job.job_id], delay_s=0.3, was_tried=True)
    assert await leases.claim(10) == ([], False)
    await asyncio.sleep(0.5)
    (job,), _ = await leases.claim(10)
    assert job.job_try == 2


def test_clock_is_no_more_exact_than_the_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies within the error of a measurement changes nothing; what lies beyond it is taken over."""
    clock = RedisClock()
    monkeypatch.setattr("app.queue.redis.time", lambda: 100.2)
    clock.observe((100, 190_000), sent_at=100.0)  # the middle of the trip is 100.1
    assert clock.offset_s == 0
    clock.observe((110, 100_000), sent_at=100.0)
    assert clock.offset_s == pytest.approx(10.0)
    assert clock.now() == pytest.approx(110.2)
