"""Jobs are handed to workers that wait, each with its lease; what gets lost on the way is claimed again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
from arq.connections import ArqRedis
from redis.asyncio.client import PubSub

from app.queue import redis_keys
from app.queue.client import QueueClient
from app.queue.jobs import PredictionRequest, PredictionResult, TaskStatus
from app.queue.redis_keys import BATCH_MAX, BATCH_MIN, LEASE_S, RedisKeys
from app.queue.serialization import loads
from app.settings import Settings
from tests.support.live import MemorySource, a_job, model_thread, serving
from tests.support.models import tiny_booster, tiny_rows
from tests.support.serving import until
from worker.batch_worker import BatchWorker
from worker.inference import predict_proba
from worker.leases import ClaimedJob, Leases

Listen = Callable[[str], Awaitable[tuple[Leases, PubSub]]]


@pytest.fixture
def names(live_settings: Settings) -> RedisKeys:
    return RedisKeys(live_settings.queue_name)


@pytest.fixture
async def listen(redis: ArqRedis, names: RedisKeys) -> AsyncIterator[Listen]:
    """Have an owner wait for jobs: its leases, and the subscription on which it is handed jobs."""
    subscriptions = []

    async def start(owner: str) -> tuple[Leases, PubSub]:
        leases = Leases(redis, names, owner=owner, result_ttl_s=60)
        subscription = redis.pubsub()
        subscriptions.append(subscription)
        await subscription.subscribe(leases.channel)
        assert (await subscription.get_message(timeout=60))["type"] == "subscribe"
        assert await leases.claim(10, may_wait=True) == ([], False)
        assert leases.is_waiting
        return leases, subscription

    yield start
    for each in subscriptions:
        await each.aclose()  # type: ignore[no-untyped-call]  # redis-py


async def receive(leases: Leases, subscription: PubSub) -> list[ClaimedJob]:
    """The jobs that are handed over next."""
    async with asyncio.timeout(60):
        while (message := await subscription.get_message(timeout=60)) is None:
            pass
    return leases.accept(message["data"])


async def put_at_once(queue: QueueClient, requests: list[PredictionRequest]) -> list[str]:
    """Put jobs into the queue in one call to Redis; their ids."""
    # arq keeps the jobs of all queues under the same keys
    ids = [f"predict:{request.match_id}:{queue._names.queue}" for request in requests]
    await asyncio.gather(*[queue._submitter.put(*each) for each in zip(ids, requests, strict=True)])
    return ids


async def test_waiting_worker_is_handed_a_job_with_its_lease(
    queue: QueueClient, redis: ArqRedis, listen: Listen, names: RedisKeys
) -> None:
    """As if it had claimed it: the same request, one try, a lease that runs out."""
    leases, subscription = await listen("first")
    await queue.check_redis()
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0], explain=True))
    (handed,) = await receive(leases, subscription)
    assert leases.held == {task_id}
    assert not leases.is_waiting
    assert await redis.get(redis_keys.IN_PROGRESS + task_id) == b"first"
    assert 0 < await redis.pttl(redis_keys.IN_PROGRESS + task_id) <= 1000 * LEASE_S
    other = Leases(redis, names, owner="other", result_ttl_s=60)
    assert await other.claim(10) == ([], False)

    # once the lease is gone it is claimed
    await redis.delete(redis_keys.IN_PROGRESS + task_id, redis_keys.RETRY + task_id)
    (claimed,), _ = await other.claim(10)
    assert (handed.job_id, handed.job_try, handed.name, handed.args) == (
        claimed.job_id, claimed.job_try, claimed.name, claimed.args,
    )  # fmt: skip
    first, second = handed.request, claimed.request
    assert isinstance(first, PredictionRequest)
    assert isinstance(second, PredictionRequest)
    assert (first.task_id, first.features, first.explain) == (second.task_id, second.features, second.explain)
    # the clock of Redis is known to a round trip
    assert first.deadline_at == pytest.approx(second.deadline_at, abs=5)
    assert first.enqueued_at == pytest.approx(second.enqueued_at, abs=5)


async def test_waiting_worker_that_is_gone_is_passed_over(
    queue: QueueClient, redis: ArqRedis, listen: Listen, names: RedisKeys
) -> None:
    gone, subscription = await listen("gone")
    await subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py
    await until(lambda: has_no_listener(redis, gone.channel))
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    assert not await redis.exists(redis_keys.IN_PROGRESS + task_id, redis_keys.RETRY + task_id)
    assert not await redis.exists(names.idle)
    (job,), _ = await Leases(redis, names, owner="other", result_ttl_s=60).claim(10)
    assert (job.job_id, job.job_try) == (task_id, 1)


async def test_jobs_are_shared_among_those_who_wait(
    queue: QueueClient, redis: ArqRedis, listen: Listen, names: RedisKeys
) -> None:
    """Half of what is new for each, between BATCH_MIN and BATCH_MAX; the rest wakes whoever has none."""
    first, second = await listen("first"), await listen("second")
    wakes = redis.pubsub()
    await wakes.subscribe(names.wake)
    assert (await wakes.get_message(timeout=60))["type"] == "subscribe"
    ids = await put_at_once(queue, [await a_job(queue, row, match_id=n) for n, row in enumerate(tiny_rows(40))])
    handed = [[job.job_id for job in await receive(*each)] for each in (first, second)]
    assert {len(each) for each in handed} == {BATCH_MAX}
    left = set(ids) - {job_id for each in handed for job_id in each}
    assert int((await wakes.get_message(timeout=60))["data"]) == len(left) == 40 - 2 * BATCH_MAX
    await wakes.aclose()  # type: ignore[no-untyped-call]  # redis-py
    jobs, more = await Leases(redis, names, owner="third", result_ttl_s=60).claim(BATCH_MAX)
    assert ({job.job_id for job in jobs}, more) == (left, False)


async def test_few_jobs_go_to_one_of_those_who_wait(queue: QueueClient, redis: ArqRedis, listen: Listen) -> None:
    await listen("first")
    await listen("second")
    ids = await put_at_once(queue, [await a_job(queue, row, match_id=n) for n, row in enumerate(tiny_rows(BATCH_MIN))])
    holders = {await redis.get(redis_keys.IN_PROGRESS + job_id) for job_id in ids}
    assert len(holders) == 1


async def test_job_that_was_tried_before_is_not_handed_over(
    queue: QueueClient, redis: ArqRedis, listen: Listen, names: RedisKeys
) -> None:
    """It may bring its worker down, so it runs alone."""
    leases, subscription = await listen("first")
    tried, fresh = [await a_job(queue, row, match_id=n) for n, row in enumerate(tiny_rows(2))]
    await redis.set(f"{redis_keys.RETRY}predict:0:{names.queue}", 1)
    ids = await put_at_once(queue, [tried, fresh])
    assert [job.job_id for job in await receive(leases, subscription)] == ids[1:]
    jobs, _ = await leases.claim(10)
    assert [(job.job_id, job.job_try) for job in jobs] == [(ids[0], 2)]


async def test_job_whose_hand_over_is_lost_is_answered(
    queue: QueueClient, redis: ArqRedis, listen: Listen, live_settings: Settings, shelf_source: MemorySource
) -> None:
    """By whoever finds its lease run out."""
    leases, subscription = await listen("dies")
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    await receive(leases, subscription)
    async with serving(live_settings, shelf_source) as worker:
        await until(lambda: is_done(queue, task_id), timeout_s=60)
        assert worker.tally.done == 1
    assert loads(await redis.get(redis_keys.RESULT + task_id))["t"] == 2


async def test_answers_of_one_whose_lease_was_taken_over_do_not_count(
    queue: QueueClient, redis: ArqRedis, listen: Listen, names: RedisKeys
) -> None:
    """A worker that stood still reads its hand-over when the job is another's."""
    leases, subscription = await listen("slow")
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    (job,) = await receive(leases, subscription)
    await redis.set(redis_keys.IN_PROGRESS + task_id, b"other")
    ours, jobs, _ = await leases.submit_and_claim([job.give_up("late", queue=names.queue)], 10)
    assert (ours, jobs) == (0, [])
    assert not await redis.exists(redis_keys.RESULT + task_id)


async def test_worker_that_has_nothing_waits_and_one_that_drains_does_not(
    queue: QueueClient, redis: ArqRedis, worker: BatchWorker, names: RedisKeys
) -> None:
    await until(lambda: is_waiting(redis, names))
    await ask(queue, 1)
    await until(lambda: is_waiting(redis, names))
    worker.drain()
    await until(lambda: is_not_waiting(redis, names))
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=2))
    assert (await queue.status(task_id)).status is TaskStatus.QUEUED


async def test_worker_that_computes_is_handed_nothing(
    queue: QueueClient, redis: ArqRedis, worker: BatchWorker, names: RedisKeys
) -> None:
    """Another one may be free."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    model_thread(worker).submit(lambda: asyncio.run_coroutine_threadsafe(end.wait(), loop).result(60))
    asking = asyncio.create_task(ask(queue, 1))
    await until(lambda: is_not_waiting(redis, names))
    await until(lambda: has_running(queue, 1))
    end.set()
    await asking
    await until(lambda: is_waiting(redis, names))


async def test_stop_loses_no_hand_over(
    queue: QueueClient, redis: ArqRedis, live_settings: Settings, shelf_source: MemorySource, names: RedisKeys
) -> None:
    """What is handed to a worker in the moment it stops is answered at the first try, by it or by another."""
    rows = tiny_rows(20)
    expected = predict_proba(tiny_booster(), rows)
    for n, row in enumerate(rows):
        async with serving(live_settings, shelf_source) as first, serving(live_settings, shelf_source):
            asking = asyncio.create_task(queue.predict(await a_job(queue, row, match_id=n), timeout_s=60))
            await asyncio.sleep(0.001 * (n % 5))
            first.drain()
            answer = await asking
            assert np.array_equal(answer.proba, expected[n])
            assert loads(await redis.get(redis_keys.RESULT + answer.task_id))["t"] == 1


async def test_hand_over_that_cannot_be_read_is_claimed_later(
    queue: QueueClient, redis: ArqRedis, worker: BatchWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another version, say."""
    for message in (b"not JSON", b"{}", b"[1]", b'[1,[["id"]]]'):
        await redis.publish(worker._leases.channel, message)
    assert (await ask(queue, 1)).model_version == "1"
    assert caplog.text.count("jobs that were handed over cannot be read") == 4


async def test_idle_owners_of_a_dead_pool_go(redis: ArqRedis, listen: Listen, names: RedisKeys) -> None:
    await listen("first")
    assert 0 < await redis.pttl(names.idle) <= 5000


async def ask(queue: QueueClient, match_id: int) -> PredictionResult:
    return await queue.predict(await a_job(queue, tiny_rows(1)[0], match_id=match_id), timeout_s=60)


async def has_no_listener(redis: ArqRedis, channel: str) -> bool:
    return (await redis.pubsub_numsub(channel))[0][1] == 0


async def is_done(queue: QueueClient, task_id: str) -> bool:
    return (await queue.status(task_id)).status is TaskStatus.DONE


async def is_waiting(redis: ArqRedis, names: RedisKeys) -> bool:
    return bool(await redis.exists(names.idle))


async def is_not_waiting(redis: ArqRedis, names: RedisKeys) -> bool:
    return not await redis.exists(names.idle)


async def has_running(queue: QueueClient, n: int) -> bool:
    return (await queue.queues())[0].in_progress == n
