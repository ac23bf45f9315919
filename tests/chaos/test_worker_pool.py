"""Real worker processes are killed under load; nobody's question is lost, and nothing is left behind."""

import asyncio
import os
import signal
from pathlib import Path
from time import monotonic

import numpy as np
import psutil
import pytest

from app.queue.client import QueueClient
from app.settings import Settings
from infra.local.children import Child
from infra.local.redis import Redis
from tests.chaos.pools import a_pool, ask_many, has_workers, is_at_work, is_done, start, was_replaced
from tests.support.live import a_job
from tests.support.models import tiny_rows
from tests.support.serving import until

pytestmark = pytest.mark.timeout(600)  # processes that import MLflow

# a lease of three seconds, then work on a machine however busy; without leases it would be the 60 s of a job's timeout
RECOVERY_S = 30.0


async def test_killed_worker_loses_no_question(queue: QueueClient, pool: Child) -> None:
    asking = asyncio.create_task(ask_many(queue, 3000))
    await until(lambda: is_at_work(queue))
    victim = (await queue.workers())[0].pid
    os.kill(victim, signal.SIGKILL)
    assert not asking.done()
    killed_at = monotonic()
    await asking
    assert monotonic() - killed_at < RECOVERY_S
    await until(lambda: was_replaced(queue, victim), timeout_s=60)


async def test_what_a_killed_worker_had_is_answered_within_five_seconds(queue: QueueClient, pool: Child) -> None:
    """By the other one: a lease of three seconds, up to one until somebody looks, and the work."""
    victim, other = [worker.pid for worker in await queue.workers()]
    os.kill(other, signal.SIGSTOP)  # so that all that is in hand is the victim's
    asking = asyncio.create_task(ask_many(queue, 600))
    await until(lambda: stops_at_work(queue, victim), timeout_s=60)
    os.kill(victim, signal.SIGKILL)
    os.kill(other, signal.SIGCONT)
    killed_at = monotonic()
    await asking
    assert monotonic() - killed_at < 5


async def stops_at_work(queue: QueueClient, pid: int) -> bool:
    """Stop a process; it goes on when it has nothing in hand."""
    os.kill(pid, signal.SIGSTOP)
    if await is_at_work(queue):
        return True
    os.kill(pid, signal.SIGCONT)
    return False


async def test_terminated_worker_finishes_what_it_has(queue: QueueClient, pool: Child) -> None:
    asking = asyncio.create_task(ask_many(queue, 3000))
    await asyncio.sleep(0.05)
    os.kill((await queue.workers())[0].pid, signal.SIGTERM)
    await asking


async def test_killed_redis_loses_no_question(
    queue: QueueClient, pool: Child, redis_server: Redis, running_redis: list[Child]
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
        await until(lambda task_id=task_id: is_done(queue, task_id), timeout_s=60)  # type: ignore[misc]
    await until(lambda: has_workers(queue, 2), timeout_s=60)
    assert {worker.pid for worker in await queue.workers()} == pids


async def test_killed_supervisor_leaves_no_process(queue: QueueClient, pool: Child) -> None:
    """Its workers answer on, and end when they are told to."""
    family = psutil.Process(pool.pid).children(recursive=True)
    assert len(family) >= 3
    os.kill(pool.pid, signal.SIGKILL)
    await asyncio.sleep(2)
    await ask_many(queue, 100)
    for worker in await queue.workers():
        os.kill(worker.pid, signal.SIGTERM)
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 60)
    assert not alive


@pytest.mark.timeout(600)  # two pools start
async def test_killed_supervisor_interrupts_no_answer(
    queue: QueueClient, pool: Child, settings: Settings, tmp_path: Path
) -> None:
    """Its workers go when those of the next pool are ready, and not before."""
    old = {worker.pid for worker in await queue.workers()}
    family = psutil.Process(pool.pid).children(recursive=True)
    os.kill(pool.pid, signal.SIGKILL)
    async with a_pool(settings, tmp_path / "next.log"):
        assert await asyncio.wait_for(longest_answer_until_replaced(queue, old), 300) < 5
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 30)
    assert not alive


@pytest.mark.timeout(600)  # a fork server starts
async def test_killed_fork_server_interrupts_no_answer(queue: QueueClient, pool: Child) -> None:
    """Its workers go when those of the next one are ready, though a new one imports MLflow for seconds first."""
    old = {worker.pid for worker in await queue.workers()}
    os.kill((await asyncio.to_thread(fork_server, pool)).pid, signal.SIGKILL)
    assert await longest_answer_until_replaced(queue, old) < 5
    await until(lambda: has_workers(queue, 2), timeout_s=120)
    _, alive = await asyncio.to_thread(
        psutil.wait_procs, [psutil.Process(pid) for pid in old if psutil.pid_exists(pid)], 60
    )
    assert not alive


async def longest_answer_until_replaced(queue: QueueClient, old: set[int]) -> float:
    """Ask one new question after the other until other workers serve; the seconds of the slowest answer."""
    pauses_s = []
    number = 0
    while not await is_replaced(queue, old):
        number += 1
        started = monotonic()
        job = await a_job(queue, tiny_rows(1)[0], match_id=number, features=np.float32([number] * 6).tobytes())
        await queue.predict(job, timeout_s=30)
        pauses_s.append(monotonic() - started)
        await asyncio.sleep(0.02)
    return max(pauses_s)


def fork_server(pool: Child) -> psutil.Process:
    children = psutil.Process(pool.pid).children()
    return next(child for child in children if "forkserver" in " ".join(child.cmdline()))


async def is_replaced(queue: QueueClient, old: set[int]) -> bool:
    pids = {worker.pid for worker in await queue.workers() if "champion" in worker.models}
    return bool(pids) and not pids & old


async def test_stopped_pool_leaves_the_roster(queue: QueueClient, pool: Child) -> None:
    started = monotonic()
    await asyncio.to_thread(pool.stop)
    assert pool.exit_code == 0
    assert monotonic() - started < 10
    assert await queue.workers() == []


async def test_random_kills_give_one_answer_each(queue: QueueClient, pool: Child) -> None:
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
