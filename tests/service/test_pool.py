"""The supervisor keeps processes alive, and a process ends in order."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import psutil
import pytest
from arq.connections import ArqRedis

from app.queue.__main__ import main as jobs_main
from app.queue.client import QueueClient
from app.queue.jobs import Heartbeat, WorkerState
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import dumps
from app.settings import Settings
from tests.support.live import MemorySource, a_job
from tests.support.models import tiny_rows
from tests.support.processes import PRELOAD, fall_over, leave_a_mark
from tests.support.serving import until
from worker.main import serve
from worker.pool import WorkerPool


@pytest.mark.timeout(600)
def test_pool_replaces_the_killed_and_stops_all(tmp_path: Path) -> None:
    def meddle() -> None:
        first = wait_for_marks(tmp_path, 2)
        os.kill(first[0], signal.SIGKILL)
        wait_for_marks(tmp_path, 3)
        os.kill(os.getpid(), signal.SIGTERM)

    run_pool(WorkerPool(Settings(touchline_home=tmp_path), 2, target=leave_a_mark, preload=PRELOAD), meddle)
    assert not [mark for mark in tmp_path.iterdir() if psutil.pid_exists(int(mark.name))]


@pytest.mark.timeout(600)
def test_process_that_cannot_start_is_tried_more_and_more_seldom(tmp_path: Path) -> None:
    def meddle() -> None:
        wait_for_marks(tmp_path, 2)
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGINT)

    run_pool(WorkerPool(Settings(touchline_home=tmp_path), 1, target=fall_over, preload=PRELOAD), meddle)
    assert 2 <= len(list(tmp_path.iterdir())) <= 6  # pauses of 0.1, 0.2, 0.4, 0.8 ... s


async def test_process_answers_until_it_is_told_to_stop(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource
) -> None:
    serving = asyncio.create_task(serve(live_settings, source=lambda _: shelf_source))
    await until(lambda: is_served(queue))
    result = await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=5)
    assert result.model_version == "1"
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)
    assert await queue.workers() == []


@pytest.mark.parametrize("is_replaced", [True, False])
async def test_process_without_supervisor_answers_until_the_next_is_ready(
    queue: QueueClient,
    live_settings: Settings,
    shelf_source: MemorySource,
    redis: ArqRedis,
    monkeypatch: pytest.MonkeyPatch,
    is_replaced: bool,
) -> None:
    """Or until nobody has come for long enough."""
    monkeypatch.setattr("worker.main.HAND_OVER_S", 120 if is_replaced else 2.0)
    working = asyncio.create_task(serve(live_settings, source=lambda _: shelf_source))
    await until(lambda: is_served(queue))
    os.kill(os.getpid(), signal.SIGUSR1)
    result = await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=20)
    assert result.model_version == "1"
    if is_replaced:
        assert not working.done()
        await announce_next(redis, RedisKeys(live_settings.queue_name))
    await asyncio.wait_for(working, 60)


async def announce_next(redis: ArqRedis, keys: RedisKeys) -> None:
    """Publish the heartbeat of a ready worker of this host that has just started."""
    worker_id = "the next"
    now = datetime.now(UTC)
    state = WorkerState(worker_id, socket.gethostname(), 1, now, now, 0, 0, 1.0, {"champion": "1"})
    await redis.set(keys.worker(worker_id), dumps(Heartbeat(state, [], True, 0.0, {})), ex=60)
    await redis.zadd(keys.workers, {worker_id: time.time()})


def test_jobs_command_lists(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("QUEUE_NAME", "test:no-letters")
    monkeypatch.setattr(sys, "argv", ["scripts/jobs", "list"])
    jobs_main()
    assert capsys.readouterr().out == "no job was given up\n"
    monkeypatch.setattr(sys, "argv", ["scripts/jobs", "drop", "predict:1:none"])
    with pytest.raises(SystemExit, match="No dead letter"):
        jobs_main()


def run_pool(pool: WorkerPool, meddle: Callable[[], None]) -> None:
    """Run a pool in this thread, and something else beside it."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    other = Thread(target=meddle)
    other.start()
    try:
        pool.run()
    finally:
        other.join()
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def wait_for_marks(folder: Path, n: int) -> list[int]:
    """The pids of the processes that were started."""
    end = time.monotonic() + 20
    while len(list(folder.iterdir())) < n and time.monotonic() < end:
        time.sleep(0.02)
    return sorted(int(mark.name) for mark in folder.iterdir())


async def is_served(queue: QueueClient) -> bool:
    """Whether a worker holds the champion."""
    return any("champion" in worker.models for worker in await queue.workers())
