"""A real worker answers real questions through a real Redis."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import numpy as np
import pytest
from arq.connections import ArqRedis

from app.errors import FeaturesMismatch, ModelNotFound, NoWorker, PredictionFailed, PredictionTimeout, TaskNotFound
from app.queue import redis_keys
from app.queue.__main__ import run as operate
from app.queue.client import QueueClient
from app.queue.dead_letters import DeadLetters
from app.queue.jobs import PredictionResult, TaskStatus
from app.queue.redis_keys import LEASE_S, RedisKeys
from app.settings import Settings
from tests.support.live import Marked, MemorySource, a_job, model_thread, serving
from tests.support.models import FEATURES, tiny_booster, tiny_rows
from tests.support.serving import until
from worker.batch_worker import BatchWorker
from worker.inference import predict_proba
from worker.main import make_worker
from worker.tasks import CONTEXT


async def ask(queue: QueueClient, row: np.ndarray, **changes: object) -> PredictionResult:
    """The answer about one row."""
    return await queue.predict(await a_job(queue, row, **changes), timeout_s=8)


async def test_answer_equals_the_models_own(queue: QueueClient, worker: BatchWorker) -> None:
    rows = tiny_rows(5)
    for row, probabilities in zip(rows, predict_proba(tiny_booster(), rows), strict=True):
        result = await ask(queue, row)
        assert result.proba == pytest.approx(probabilities, abs=1e-6)
        assert (result.alias, result.model_version, result.run_id) == ("champion", "1", "run-1")


async def test_concurrent_questions_share_computations(queue: QueueClient, worker: BatchWorker) -> None:
    rows = tiny_rows(200)
    results = await asyncio.gather(*[ask(queue, row, match_id=n) for n, row in enumerate(rows)])
    assert np.array([result.proba for result in results]) == pytest.approx(
        predict_proba(tiny_booster(), rows), abs=1e-6
    )
    assert calls_of(worker) < len(rows)


async def test_same_question_is_computed_once(queue: QueueClient, worker: BatchWorker) -> None:
    row = tiny_rows(1)[0]
    results = await asyncio.gather(*[ask(queue, row) for _ in range(20)])
    results.append(await ask(queue, row))
    assert len({result.computed_at for result in results}) == 1
    assert worker.tally.done == 1


async def test_other_row_or_wish_is_another_task(queue: QueueClient, worker: BatchWorker) -> None:
    first, second = tiny_rows(2)
    jobs = [await a_job(queue, first), await a_job(queue, second), await a_job(queue, first, explain=True)]
    assert len({(await queue.predict(job, timeout_s=5)).task_id for job in jobs}) == 3


async def test_no_worker_is_said_at_once(queue: QueueClient) -> None:
    with pytest.raises(NoWorker):
        await ask(queue, tiny_rows(1)[0])


async def test_unknown_alias_is_said_at_once(queue: QueueClient, worker: BatchWorker) -> None:
    with pytest.raises(ModelNotFound, match="challenger"):
        await ask(queue, tiny_rows(1)[0], alias="challenger")


async def test_missing_columns_are_named(queue: QueueClient, worker: BatchWorker) -> None:
    fewer = await queue.announce_features(FEATURES[1:])
    with pytest.raises(FeaturesMismatch, match="elo_home"):
        await ask(queue, tiny_rows(1)[0][1:], feature_set=fewer)


async def test_columns_in_another_order_give_the_same_answer(queue: QueueClient, worker: BatchWorker) -> None:
    row = tiny_rows(1)[0]
    turned = await queue.announce_features(FEATURES[::-1])
    assert (await ask(queue, row[::-1], feature_set=turned)).proba == (await ask(queue, row)).proba


@pytest.mark.parametrize("changes", [{"features": b"1234"}, {"feature_set": "never-announced"}])
async def test_row_that_fits_no_columns(queue: QueueClient, worker: BatchWorker, changes: dict[str, object]) -> None:
    with pytest.raises(FeaturesMismatch):
        await ask(queue, tiny_rows(1)[0], **changes)


async def test_failing_job_does_not_fail_its_batch(
    queue: QueueClient, worker: BatchWorker, redis: ArqRedis, live_settings: Settings
) -> None:
    """The one at fault is tried three times and ends among the dead letters; its neighbours are answered."""
    rows = tiny_rows(10)
    rows[4] = Marked.MARK
    results = await asyncio.gather(*[ask(queue, row, match_id=n) for n, row in enumerate(rows)], return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, PredictionFailed)] == [4]
    assert "ZeroDivisionError" in str(results[4])
    (letter,) = await DeadLetters(redis, redis_keys.RedisKeys(live_settings.queue_name)).all()
    assert letter.args[0]["match_id"] == 4
    assert (await queue.queues())[0].dead_letters == 1


async def test_dead_letter_can_be_retried_and_dropped(
    queue: QueueClient, worker: BatchWorker, redis: ArqRedis, live_settings: Settings
) -> None:
    letters = DeadLetters(redis, redis_keys.RedisKeys(live_settings.queue_name))
    with pytest.raises(PredictionFailed) as caught:
        await ask(queue, np.full(len(FEATURES), Marked.MARK, np.float32))
    task_id = caught.value.extras["task_id"]
    assert [(each.job_id, each.function) for each in await letters.all()] == [(task_id, "predict_match")]
    Marked.is_mended = True
    try:
        await letters.retry(task_id)
        await until(lambda: is_in(queue, task_id, TaskStatus.DONE))
    finally:
        Marked.is_mended = False
    assert await letters.all() == []
    with pytest.raises(TaskNotFound):
        await letters.drop(task_id)


async def test_job_has_one_dead_letter_until_it_is_answered(
    queue: QueueClient, worker: BatchWorker, redis: ArqRedis, live_settings: Settings
) -> None:
    """Asked and given up again it replaces its letter; asked and answered there is nothing to retry."""
    letters = DeadLetters(redis, redis_keys.RedisKeys(live_settings.queue_name))
    row = np.full(len(FEATURES), Marked.MARK, np.float32)
    for _ in range(2):
        with pytest.raises(PredictionFailed):
            await ask(queue, row)
    assert len(await letters.all()) == 1
    Marked.is_mended = True
    try:
        await ask(queue, row)
    finally:
        Marked.is_mended = False
    assert await letters.all() == []
    assert (await queue.queues())[0].dead_letters == 0


async def test_the_oldest_dead_letters_make_room(
    queue: QueueClient, worker: BatchWorker, redis: ArqRedis, live_settings: Settings
) -> None:
    names = redis_keys.RedisKeys(live_settings.queue_name)
    old = {f"old-{n}": n for n in range(redis_keys.DEAD_LETTERS_MAX)}
    await redis.zadd(names.dead, old)
    await redis.hset(names.dead_letters, mapping=dict.fromkeys(old, b"{}"))
    with pytest.raises(PredictionFailed) as caught:
        await ask(queue, np.full(len(FEATURES), Marked.MARK, np.float32))
    assert await redis.zcard(names.dead) == await redis.hlen(names.dead_letters) == redis_keys.DEAD_LETTERS_MAX
    assert await redis.hexists(names.dead_letters, caught.value.extras["task_id"])
    assert not await redis.hexists(names.dead_letters, "old-0")


async def test_operator_lists_retries_and_drops(
    queue: QueueClient, worker: BatchWorker, live_settings: Settings
) -> None:
    with pytest.raises(PredictionFailed) as caught:
        await ask(queue, np.full(len(FEATURES), Marked.MARK, np.float32))
    task_id = caught.value.extras["task_id"]
    (line,) = await operate(live_settings, "list", None)
    assert task_id in line
    assert "ZeroDivisionError" in line
    assert await operate(live_settings, "drop", task_id) == [f"{task_id}: dropped"]
    assert await operate(live_settings, "list", None) == ["no job was given up"]


async def test_job_that_killed_its_workers_is_given_up(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis
) -> None:
    """Tried three times and never answered: the next worker does not touch it."""
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    await redis.set(redis_keys.RETRY + task_id, 3)
    async with serving(live_settings, shelf_source) as worker:
        await until(lambda: is_in(queue, task_id, TaskStatus.FAILED))
        assert calls_of(worker) == 0
    assert (await queue.status(task_id)).detail == "given up after 3 tries"
    assert (await queue.queues())[0].dead_letters == 1


async def test_job_that_was_tried_runs_alone(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis
) -> None:
    """It may have brought its worker down, and must take no other with it."""
    jobs = [await a_job(queue, row, match_id=n) for n, row in enumerate(tiny_rows(4))]
    task_ids = [await queue.submit(job) for job in jobs]
    await redis.set(redis_keys.RETRY + task_ids[2], 1)
    async with serving(live_settings, shelf_source) as worker:
        for task_id in task_ids:
            await until(lambda task_id=task_id: is_in(queue, task_id, TaskStatus.DONE))
        assert calls_of(worker) == 2


@pytest.mark.parametrize("body", [None, b"no JSON"])
async def test_job_without_a_body_is_over(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis, body: bytes | None
) -> None:
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    await (redis.set(redis_keys.JOB + task_id, body) if body else redis.delete(redis_keys.JOB + task_id))
    async with serving(live_settings, shelf_source):
        await until(lambda: has_queued(queue, 0))
    assert (await queue.status(task_id)).status is TaskStatus.FAILED


async def test_burst_worker_ends_with_the_queue(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis
) -> None:
    task_ids = [await queue.submit(await a_job(queue, row, match_id=n)) for n, row in enumerate(tiny_rows(100))]
    worker = make_worker(live_settings, redis, source=lambda _: shelf_source, burst=True)
    await worker.main()
    await worker.close()
    states = [await queue.status(task_id) for task_id in task_ids]
    assert {state.status for state in states} == {TaskStatus.DONE}


async def test_stuck_model_ends_the_process(live_settings: Settings, shelf_source: MemorySource) -> None:
    """A thread cannot be stopped, so the worker asks for the end of its process."""
    stuck = asyncio.Event()
    async with QueueClient.open(live_settings) as queue, serving(live_settings, shelf_source) as worker:
        worker.job_timeout_s = 0.2
        worker.on_stuck = stuck.set
        block(worker, 0.6)
        await queue.submit(await a_job(queue, tiny_rows(1)[0]))
        await asyncio.wait_for(stuck.wait(), 5)


async def test_few_rows_need_no_thread(queue: QueueClient, worker: BatchWorker) -> None:
    """An explanation, which takes longer, does."""
    end, thread = Event(), worker.ctx[CONTEXT].thread
    thread.submit(end.wait)
    try:
        rows = tiny_rows(30)
        answers = await asyncio.gather(
            *[queue.predict(await a_job(queue, row, match_id=n), timeout_s=60) for n, row in enumerate(rows)]
        )
        assert np.array_equal([answer.proba for answer in answers], predict_proba(tiny_booster(), rows))
        explained = asyncio.create_task(queue.predict(await a_job(queue, rows[0], explain=True), timeout_s=60))
        await until(lambda: has_running(queue, 1))
        assert not explained.done()
    finally:
        end.set()
    assert (await explained).contributions


async def test_failure_is_not_an_answer_for_the_next_caller(queue: QueueClient, worker: BatchWorker) -> None:
    row = np.full(len(FEATURES), Marked.MARK, np.float32)
    for _ in range(2):
        calls = calls_of(worker)
        with pytest.raises(PredictionFailed):
            await ask(queue, row)
        assert calls_of(worker) > calls


async def test_slow_model_times_out_and_can_be_polled(queue: QueueClient, worker: BatchWorker) -> None:
    with blocked(worker):
        with pytest.raises(PredictionTimeout) as caught:
            await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=0.2)
        task_id = caught.value.extras["task_id"]
        await until(lambda: is_in(queue, task_id, TaskStatus.RUNNING))
    await until(lambda: is_in(queue, task_id, TaskStatus.DONE))
    state = await queue.status(task_id)
    assert state.result is not None
    assert state.request is not None
    assert (state.request.match_id, state.request.snapshot_id) == (7, "snapshot-1")


async def test_job_past_its_deadline_is_not_computed(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource
) -> None:
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0], deadline_at=time.time() + 0.05))
    await asyncio.sleep(0.1)
    async with serving(live_settings, shelf_source) as worker:
        await until(lambda: is_in(queue, task_id, TaskStatus.FAILED))
        state = await queue.status(task_id)
        assert state.error == "prediction-timeout"
        assert calls_of(worker) == 0


async def test_job_whose_caller_has_gone_is_not_computed(queue: QueueClient, worker: BatchWorker) -> None:
    worker.drain()  # alive, but it takes nothing
    await asyncio.sleep(0.05)
    asking = asyncio.create_task(ask(queue, tiny_rows(1)[0]))
    await until(lambda: has_queued(queue, 1))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: has_queued(queue, 0))
    assert worker.tally.done == 0


async def test_job_that_another_still_wants_is_computed(queue: QueueClient, worker: BatchWorker) -> None:
    block(worker, 0.3)
    row = tiny_rows(1)[0]
    first, second = (asyncio.create_task(ask(queue, row)) for _ in range(2))
    await asyncio.sleep(0.1)
    first.cancel()
    assert (await second).model_version == "1"


async def test_lease_is_renewed_while_the_model_takes_its_time(
    queue: QueueClient, worker: BatchWorker, live_settings: Settings, shelf_source: MemorySource
) -> None:
    block(worker, LEASE_S + 1.5)
    asking = asyncio.create_task(ask(queue, tiny_rows(1)[0]))
    await asyncio.sleep(0.2)
    async with serving(live_settings, shelf_source) as idle:
        await asking
        assert (worker.tally.done, idle.tally.done) == (1, 0)


async def test_moved_alias_answers_with_the_new_version(
    queue: QueueClient, worker: BatchWorker, shelf_source: MemorySource
) -> None:
    row = tiny_rows(1)[0]
    old = await ask(queue, row)
    shelf_source.version = "2"
    await until(lambda: serves(queue, "2"))
    new = await ask(queue, row)
    assert (old.model_version, new.model_version) == ("1", "2")
    assert new.proba == pytest.approx(predict_proba(tiny_booster(seed=2), row[np.newaxis])[0], abs=1e-6)


async def test_bad_version_is_refused_and_the_old_one_serves_on(
    queue: QueueClient, worker: BatchWorker, shelf_source: MemorySource
) -> None:
    shelf_source.version = "bad"
    await until(lambda: was_loaded(shelf_source, "bad"))
    looks = shelf_source.looks
    await until(lambda: was_looked_at(shelf_source, looks + 5))
    assert shelf_source.loads == ["1", "bad"]
    assert (await ask(queue, tiny_rows(1)[0])).model_version == "1"
    assert "version bad is refused" in worker.ctx[CONTEXT].models.refused["champion"]


async def test_load_that_fails_for_a_while_is_tried_again(
    queue: QueueClient, worker: BatchWorker, shelf_source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it failed; the old version serves on meanwhile."""
    monkeypatch.setattr("worker.model_manager.FIRST_PAUSE_S", 0.01)
    shelf_source.failures, shelf_source.version = 1_000_000, "2"
    await until(lambda: was_loaded(shelf_source, "2", times=5))
    assert (await ask(queue, tiny_rows(1)[0])).model_version == "1"
    assert "OSError" in worker.ctx[CONTEXT].models.refused["champion"]
    shelf_source.failures = 0
    await until(lambda: serves(queue, "2"))
    assert worker.ctx[CONTEXT].models.refused == {}


async def test_pause_between_loads_grows_to_a_bound(
    worker: BatchWorker, shelf_source: MemorySource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("worker.model_manager.FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr("worker.model_manager.LONGEST_PAUSE_S", 0.3)
    shelf_source.failures, shelf_source.version = 1_000_000, "2"

    def pauses() -> list[object]:
        return [record.args[2] for record in caplog.records if "trying again" in record.msg and record.args]  # type: ignore[index]

    async def has_paused_often() -> bool:
        return len(pauses()) >= 4

    await until(has_paused_often)
    assert pauses()[:4] == [0.1, 0.2, 0.3, 0.3]


async def test_first_load_that_fails_for_a_while_is_tried_again(
    queue: QueueClient, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.model_manager.FIRST_PAUSE_S", 0.01)
    source = MemorySource()
    source.failures = 5
    async with asyncio.timeout(8), serving(live_settings, source):
        assert (await ask(queue, tiny_rows(1)[0])).model_version == "1"
    assert source.loads == ["1"] * 6


async def test_alias_that_vanishes_keeps_its_last_model(
    queue: QueueClient,
    worker: BatchWorker,
    live_settings: Settings,
    shelf_source: MemorySource,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says so once, and a worker that starts meanwhile loads the same version."""
    models = worker.ctx[CONTEXT].models
    shelf_source.version = None
    await until(lambda: refuses(queue, "the registry has no alias champion any more; version 1 serves on"))
    looks = shelf_source.looks
    await until(lambda: was_looked_at(shelf_source, looks + 3))
    assert (await ask(queue, tiny_rows(1)[0])).model_version == "1"
    assert sum("alias.missing" in record.message for record in caplog.records) == 1
    assert 'worker_model_aliases_missing{alias="champion"} 1' in worker.tally.metrics.registry.text()[0].decode()
    async with asyncio.timeout(8), serving(live_settings, shelf_source) as second:
        assert second.ctx[CONTEXT].models.get("champion").info.version == "1"
        assert second.ctx[CONTEXT].models.missing == models.missing
    shelf_source.version = "2"

    async def is_new() -> bool:
        return models.get("champion").info.version == "2"

    await until(is_new)
    assert models.refused == {}


async def test_alias_that_vanishes_with_its_version_is_named(
    queue: QueueClient, live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis
) -> None:
    """A worker that starts when nothing is left to load goes on waiting for the alias, and says why."""
    await redis.hset(RedisKeys(live_settings.queue_name).served_versions, "champion", "bad")
    shelf_source.version = None
    starting = asyncio.create_task(start_and_stop(live_settings, shelf_source))
    await until(lambda: refuses(queue, "version bad cannot be loaded"))
    shelf_source.version = "2"
    await asyncio.wait_for(starting, 20)


async def start_and_stop(settings: Settings, source: MemorySource) -> None:
    """Run a worker until it is ready."""
    async with serving(settings, source):
        pass


async def test_registry_away_changes_nothing(
    queue: QueueClient, worker: BatchWorker, shelf_source: MemorySource
) -> None:
    shelf_source.is_away = True
    await asyncio.sleep(0.3)
    assert (await ask(queue, tiny_rows(1)[0])).model_version == "1"


async def test_worker_waits_for_the_registry(queue: QueueClient, live_settings: Settings) -> None:
    source = MemorySource()
    source.is_away = True
    asyncio.get_running_loop().call_later(0.7, setattr, source, "is_away", False)
    task_id = await queue.submit(await a_job(queue, tiny_rows(1)[0]))
    async with serving(live_settings, source):
        await until(lambda: is_in(queue, task_id, TaskStatus.DONE))


async def test_explanation_adds_up_to_the_margin(queue: QueueClient, worker: BatchWorker) -> None:
    result = await ask(queue, tiny_rows(1)[0], explain=True)
    assert result.contributions is not None
    assert {row.feature for row in result.contributions} <= set(FEATURES)
    weights = [max(abs(row.home), abs(row.draw), abs(row.away)) for row in result.contributions]
    assert weights == sorted(weights, reverse=True)


async def test_drained_worker_answers_what_it_has(queue: QueueClient, worker: BatchWorker) -> None:
    block(worker, 0.3)
    asking = asyncio.create_task(ask(queue, tiny_rows(1)[0]))
    await asyncio.sleep(0.1)
    worker.drain()
    assert (await asking).model_version == "1"


async def is_in(queue: QueueClient, task_id: str, status: TaskStatus) -> bool:
    """Whether a task has come to a status."""
    return (await queue.status(task_id)).status is status


async def has_running(queue: QueueClient, n: int) -> bool:
    """Whether so many jobs are in hand."""
    return (await queue.queues())[0].in_progress == n


async def has_queued(queue: QueueClient, n: int) -> bool:
    """Whether so many jobs wait."""
    return (await queue.queues())[0].queued == n


async def serves(queue: QueueClient, version: str) -> bool:
    """Whether the champion is of this version."""
    return (await queue.workers())[0].models["champion"] == version


async def refuses(queue: QueueClient, reason: str) -> bool:
    """Whether a worker tells this of the champion."""
    return any(reason in worker.refused.get("champion", "") for worker in await queue.workers())


async def was_loaded(source: MemorySource, version: str, *, times: int = 1) -> bool:
    """Whether a version was tried so often."""
    return source.loads.count(version) >= times


async def was_looked_at(source: MemorySource, looks: int) -> bool:
    """Whether the aliases were looked at so often."""
    return source.looks >= looks


@contextmanager
def blocked(worker: BatchWorker) -> Iterator[None]:
    """The model's thread is busy until the end of the context."""
    end = Event()
    model_thread(worker).submit(end.wait)
    try:
        yield
    finally:
        end.set()


def block(worker: BatchWorker, seconds: float) -> None:
    """Keep the model's thread busy, as a slow model does."""
    model_thread(worker).submit(time.sleep, seconds)


def calls_of(worker: BatchWorker) -> int:
    """How often the champion was computed."""
    predictor = worker.ctx[CONTEXT].models.get("champion").predictor
    assert isinstance(predictor, Marked)
    return predictor.calls
