"""The port: limits, outages and what it tells of tasks."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import redis as blocking_redis
from arq.connections import ArqRedis

from app.errors import NoWorker, QueueFull, QueueUnavailable, TaskBusy, TaskNotFound
from app.queue import redis_keys
from app.queue.client import QueueClient
from app.queue.jobs import PredictionResult, TaskStatus
from app.settings import Settings
from infra.local.children import Child
from infra.local.ports import free_port
from infra.local.redis import Redis
from tests.support.live import MemorySource, a_job, model_thread, serving, settings_for
from tests.support.models import FEATURES, tiny_rows
from tests.support.serving import until
from worker.batch_worker import BatchWorker


async def test_full_queue_refuses_at_once(redis_url: str, shelf_source: MemorySource) -> None:
    settings = settings_for(redis_url, queue_limit=3, model_aliases=("champion",))
    async with QueueClient.open(settings) as queue:
        for n in range(3):
            await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=n))
        with pytest.raises(QueueFull) as caught:
            await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=3))
        assert caught.value.retry_after_s is not None
        await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=2))  # waits already: shared, not refused
        async with serving(settings, shelf_source):
            await until(lambda: is_empty(queue))
            await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=3))


async def test_unknown_task_is_not_found(queue: QueueClient) -> None:
    with pytest.raises(TaskNotFound):
        await queue.status("predict:1:no-such-task")


async def test_submitted_task_waits_then_is_done(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource
) -> None:
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    state = await queue.status(task_id)
    assert (state.status, state.result) == (TaskStatus.QUEUED, None)
    assert (await queue.queues())[0].queued == 1
    async with serving(live_settings, shelf_source):
        await until(lambda: is_done(queue, task_id))
    state = await queue.status(task_id)
    assert state.result is not None
    assert state.request is not None
    assert state.request.features_computed_at == "2026-08-01T00:00:00+00:00"


async def test_waiting_task_can_be_cancelled(queue: QueueClient, redis: ArqRedis) -> None:
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    await queue.cancel(task_id)
    assert await is_empty(queue)
    assert not await redis.keys(f"*{task_id}*")
    for look in (queue.status, queue.cancel):
        with pytest.raises(TaskNotFound):
            await look(task_id)


async def test_task_that_others_want_too_is_not_one_callers_to_cancel(queue: QueueClient) -> None:
    job = await a_job(queue, tiny_rows(1)[0])
    task_id = await queue.submit(job)
    assert await queue.submit(job) == task_id
    with pytest.raises(TaskBusy):
        await queue.cancel(task_id)
    assert (await queue.queues())[0].queued == 1


async def test_task_that_is_done_cannot_be_cancelled(queue: QueueClient, worker: BatchWorker) -> None:
    task_id = (await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=5)).task_id
    with pytest.raises(TaskBusy):
        await queue.cancel(task_id)
    assert (await queue.status(task_id)).status is TaskStatus.DONE


async def test_answer_says_whether_it_was_known(
    queue: QueueClient, worker: BatchWorker, shelf_source: MemorySource
) -> None:
    """Only for the same row, and only while the same version serves."""
    first, second = tiny_rows(2)
    asked = [first, first, second, second]
    known = [(await queue.predict(await a_job(queue, row), timeout_s=5)).is_known for row in asked]
    assert known == [False, True, False, True]
    shelf_source.version = "2"
    await until(lambda: serves(queue, "2"))
    answer = await queue.predict(await a_job(queue, first), timeout_s=5)
    assert (answer.is_known, answer.model_version) == (False, "2")


async def test_workers_and_models_are_told(queue: QueueClient, worker: BatchWorker) -> None:
    await until(lambda: tells_of_models(queue))
    (state,) = await queue.workers()
    (model,) = await queue.models()
    assert state.models == {"champion": "1"}
    assert state.memory_mb > 1
    assert (model.alias, model.version, model.n_features) == ("champion", "1", len(FEATURES))


async def test_port_opens_without_redis() -> None:
    settings = settings_for(f"redis://127.0.0.1:{free_port()}/0")
    async with QueueClient.open(settings) as queue:
        feature_set = await queue.announce_features(FEATURES)
        assert feature_set
        started = time.monotonic()
        with pytest.raises(QueueUnavailable) as caught:
            await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=5)
        assert caught.value.retry_after_s
        with pytest.raises(QueueUnavailable):
            await queue.check_redis()
        assert time.monotonic() - started < 3


@pytest.mark.timeout(600)
async def test_redis_restart_loses_nothing(tmp_path: Path, shelf_source: MemorySource) -> None:
    """A question asked before a kill -9 of Redis is answered after its restart, by the same worker."""
    redis = Redis(tmp_path)
    child = await asyncio.to_thread(start, redis)
    settings = settings_for(redis.url, model_aliases=("champion",))
    try:
        async with QueueClient.open(settings) as queue, serving(settings, shelf_source) as worker:
            await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=5)
            model_thread(worker).submit(time.sleep, 1.5)
            asking = asyncio.create_task(queue.predict(await a_job(queue, tiny_rows(2)[1]), timeout_s=20))
            await asyncio.sleep(1.2)  # the append-only file is flushed every second
            os.kill(child.pid, signal.SIGKILL)
            child.wait(5)
            with pytest.raises(QueueUnavailable):
                await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=8))
            child = await asyncio.to_thread(start, redis)
            assert (await asking).model_version == "1"
            assert (await queue.predict(await a_job(queue, tiny_rows(3)[2]), timeout_s=5)).model_version == "1"
    finally:
        await asyncio.to_thread(child.stop)


def start(redis: Redis) -> Child:
    """A Redis that answers."""
    child = Child(redis.command())
    redis.wait_ready(child)
    return child


async def is_empty(queue: QueueClient) -> bool:
    """Whether no job waits or runs."""
    (state,) = await queue.queues()
    return state.queued + state.in_progress == 0


async def tells_of_models(queue: QueueClient) -> bool:
    """Whether a worker has told what it holds."""
    return bool(await queue.models())


async def serves(queue: QueueClient, version: str) -> bool:
    """Whether the champion has that version."""
    return [model.version for model in await queue.models()] == [version]


async def is_done(queue: QueueClient, task_id: str) -> bool:
    """Whether a task is done."""
    return (await queue.status(task_id)).status is TaskStatus.DONE


async def test_task_whose_body_expired_has_failed(queue: QueueClient, worker: BatchWorker, redis: ArqRedis) -> None:
    worker.drain()
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    await redis.delete(f"arq:job:{task_id}")
    with pytest.raises(TaskNotFound):
        await queue.status(task_id)


async def test_lost_announcement_is_found_by_looking(queue: QueueClient, worker: BatchWorker) -> None:
    """The safety poll answers where pub/sub did not."""
    queue._listener._announce = lambda _: None  # type: ignore[method-assign]  # every announcement is lost
    started = time.monotonic()
    result = await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=5)
    assert result.model_version == "1"
    assert time.monotonic() - started < 4


async def test_question_that_redis_lost_is_asked_again(
    queue: QueueClient, redis: ArqRedis, live_settings: Settings, shelf_source: MemorySource
) -> None:
    """As when another takes over for a primary that had told nobody of it yet."""
    # announces the features too, which a replica has had for long
    job = await a_job(queue, tiny_rows(1)[0])
    asking = asyncio.create_task(queue._wait_for_outcome("predict:7:lost", job, frozenset()))
    await until(lambda: is_waiting(queue))
    names = redis_keys.RedisKeys(live_settings.queue_name)
    await redis.delete(names.queue, names.waiter_count, names.deadlines, f"{redis_keys.JOB}predict:7:lost")
    async with serving(live_settings, shelf_source):
        outcome = await asking
    assert isinstance(outcome, PredictionResult)
    assert (outcome.model_version, outcome.is_known) == ("1", False)


async def is_waiting(queue: QueueClient) -> bool:
    return (await queue.queues())[0].queued == 1


async def test_dropped_subscription_is_taken_up_again(
    queue: QueueClient, worker: BatchWorker, redis: ArqRedis, live_settings: Settings
) -> None:
    """The answer comes through it: the safety poll is made to find nothing."""
    queue._listener._fetch = finds_nothing  # type: ignore[method-assign]  # only the subscription is left
    await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=8)
    await redis.client_kill_filter(_type="pubsub")
    await until(lambda: is_subscribed(redis, live_settings))
    await queue.predict(await a_job(queue, tiny_rows(2)[1]), timeout_s=8)


async def test_announced_features_are_announced_again_and_again(
    redis: ArqRedis, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that runs for longer than they are kept still has its rows understood."""
    monkeypatch.setattr(redis_keys, "FEATURES_AGAIN_S", 0.05)
    async with QueueClient.open(live_settings) as queue:
        name = redis_keys.RedisKeys(live_settings.queue_name).features(await queue.announce_features(FEATURES))
        for _ in range(2):
            await redis.delete(name)
            await until(lambda: is_there(redis, name))
        assert redis_keys.FEATURES_TTL_S - 60 < await redis.ttl(name) <= redis_keys.FEATURES_TTL_S


@pytest.mark.parametrize("loss", ["flush", "eviction"])
async def test_worker_that_comes_after_redis_lost_the_feature_names_understands_rows(
    tmp_path: Path, shelf_source: MemorySource, loss: str
) -> None:
    """They are announced once an hour; a request finds that they are missing, and writes them first."""
    redis = Redis(tmp_path)
    child = await asyncio.to_thread(start, redis)
    settings = settings_for(redis.url, model_aliases=("champion",))
    try:
        async with QueueClient.open(settings) as queue:
            request = await a_job(queue, tiny_rows(1)[0])
            name = redis_keys.RedisKeys(settings.queue_name).features(request.feature_set)
            with blocking_redis.Redis.from_url(redis.url) as client:
                client.flushall() if loss == "flush" else client.delete(name)
            async with serving(settings, shelf_source):
                results = await asyncio.gather(
                    *[queue.predict(replace(request, match_id=n), timeout_s=8) for n in range(3)]
                )
    finally:
        await asyncio.to_thread(child.stop)
    assert [result.model_version for result in results] == ["1"] * 3


@pytest.mark.parametrize(
    ("command", "back", "cause"),
    [
        (("CONFIG", "SET", "maxmemory", "1mb"), ("CONFIG", "SET", "maxmemory", "0"), "redis-full"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "redis-read-only"),
    ],
)
async def test_redis_that_takes_no_writes_is_named(
    tmp_path: Path, shelf_source: MemorySource, command: tuple[str, ...], back: tuple[str, ...], cause: str
) -> None:
    """It answers, so it is not unreachable; the workers live, but cannot say so."""
    redis = Redis(tmp_path)
    child = await asyncio.to_thread(start, redis)
    settings = settings_for(redis.url, model_aliases=("champion",))
    try:
        async with QueueClient.open(settings) as queue, serving(settings, shelf_source):
            request = await a_job(queue, tiny_rows(1)[0])
            await queue.check_redis()
            with blocking_redis.Redis.from_url(redis.url) as client:
                client.execute_command(*command)

                async def has_no_worker() -> bool:
                    return not await queue.workers()

                for wait in (None, has_no_worker):
                    if wait is not None:  # their heartbeats have ended
                        await until(wait)
                    for call in (queue.check_redis(), queue.predict(request, timeout_s=5), queue.submit(request)):
                        with pytest.raises(QueueUnavailable, match=cause) as caught:
                            await call
                        assert caught.value.extras["cause"] == cause
                client.execute_command(*back)

            async def is_answered() -> bool:
                try:
                    return (await queue.predict(request, timeout_s=5)).model_version == "1"
                except (NoWorker, QueueUnavailable):
                    return False

            await until(is_answered)
    finally:
        await asyncio.to_thread(child.stop)


async def finds_nothing(task_ids: list[str]) -> None:
    """A look at Redis in vain."""


async def is_subscribed(redis: ArqRedis, settings: Settings) -> bool:
    """Whether a port follows the announcements."""
    ((_, n_subscribed),) = await redis.pubsub_numsub(redis_keys.RedisKeys(settings.queue_name).done)
    return n_subscribed > 0


async def is_there(redis: ArqRedis, name: str) -> bool:
    """Whether Redis has a key."""
    return bool(await redis.exists(name))
