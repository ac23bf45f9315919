"""The shadow model answers every question too, and nobody who asked notices."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from threading import Event

import numpy as np
import numpy.typing as npt
import pytest
from arq.connections import ArqRedis
from pydantic import ValidationError

from app.queue import redis_keys
from app.queue import shadow_stream as stream
from app.queue.client import QueueClient
from app.queue.jobs import PredictionResult
from app.queue.shadow_stream import ShadowPrediction, ShadowStream
from app.settings import Settings
from tests.support.live import MemorySource, a_job, an_info, serving, settings_for
from tests.support.models import FEATURES, tiny_booster, tiny_rows
from tests.support.serving import until
from worker import shadow as shadowing
from worker.batch_worker import BatchWorker
from worker.inference import Probabilities, Rows, predict_proba
from worker.predictors import BoosterPredictor, LoadedModel, Predictor

GROUP = "scores"
NOW = datetime(2026, 8, 1, tzinfo=UTC)


class Beside(MemorySource):
    """The champion, and a candidate."""

    def __init__(self, candidate: Predictor) -> None:
        super().__init__()
        self._candidate = candidate

    def version_of(self, alias: str) -> str | None:
        return "9" if alias == "candidate" else super().version_of(alias)

    def load(self, alias: str, version: str) -> LoadedModel:
        if alias == "candidate":
            return LoadedModel(an_info(alias, version), FEATURES, self._candidate)
        return super().load(alias, version)


class Sound(BoosterPredictor):
    """Another booster than the champion."""

    def __init__(self) -> None:
        super().__init__(tiny_booster(seed=9))


class Broken(Sound):
    """Fails at every question."""

    def probabilities(self, rows: Rows) -> Probabilities:
        raise ZeroDivisionError(f"{len(rows)} rows")


class Slow(Sound):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = Event()

    def probabilities(self, rows: Rows) -> Probabilities:
        self.may_answer.wait(20)
        return super().probabilities(rows)


@pytest.fixture
def live_settings(redis_url: str) -> Settings:
    """A queue of its own, with a shadow."""
    return settings_for(redis_url, shadow_alias="candidate")


@pytest.fixture
async def shadows(redis: ArqRedis, live_settings: Settings) -> ShadowStream:
    """The stream, with a group of readers."""
    shadows = ShadowStream(redis, redis_keys.RedisKeys(live_settings.queue_name))
    await shadows.join(GROUP)
    return shadows


@pytest.fixture
def beside(live_settings: Settings) -> Callable[[Predictor], object]:
    """Starts a worker whose candidate is given."""

    @asynccontextmanager
    async def start(candidate: Predictor) -> AsyncIterator[BatchWorker]:
        async with serving(live_settings, Beside(candidate)) as worker:
            yield worker

    return start


async def ask_all(queue: QueueClient, rows: npt.NDArray[np.float32], **changes: object) -> list[PredictionResult]:
    jobs = [await a_job(queue, row, match_id=n, **changes) for n, row in enumerate(rows)]
    return await asyncio.gather(*[queue.predict(job, timeout_s=8) for job in jobs])


async def read_until(shadows: ShadowStream, count: int) -> list[ShadowPrediction]:
    found: list[ShadowPrediction] = []
    async with asyncio.timeout(8):
        while len(found) < count:
            entries = await shadows.read(GROUP, "reader")
            found += [entry.shadow for entry in entries]
            await shadows.acknowledge(GROUP, entries)
            await asyncio.sleep(0.02)
    return found


async def test_shadow_answers_what_the_champion_answered(queue, shadows, beside):
    rows = tiny_rows(6)
    async with beside(Sound()):
        answers = await ask_all(queue, rows)
        found = {shadow.match_id: shadow for shadow in await read_until(shadows, 6)}
    expected = predict_proba(tiny_booster(seed=9), rows)
    for n, answer in enumerate(answers):
        assert found[n].proba == answer.proba
        assert found[n].shadow_proba == pytest.approx(expected[n], abs=1e-6)
        assert (found[n].alias, found[n].shadow_alias, found[n].shadow_version) == ("champion", "candidate", "9")
        assert found[n].task_id.startswith(f"predict:{n}:")


async def test_broken_shadow_fails_nobody(queue, shadows, beside, caplog):
    async with beside(Broken()) as worker:
        answers = await ask_all(queue, tiny_rows(4))
        await until(lambda: says(caplog, "no shadow answer"))
        assert len(answers) == worker.tally.done == 4
        assert worker.tally.failed == 0
    assert await shadows.read(GROUP, "reader") == []


async def test_slow_shadow_delays_nobody(queue, shadows, beside):
    """While it computes its first answer, and has never finished one, the champion answers on."""
    slow = Slow()
    async with beside(slow):
        for row in tiny_rows(5):
            await ask_all(queue, row[np.newaxis])
        assert await shadows.read(GROUP, "reader") == []
        slow.may_answer.set()
        assert len(await read_until(shadows, 5)) == 5


async def test_shadow_that_falls_behind_leaves_out(queue, shadows, beside, monkeypatch, caplog):
    monkeypatch.setattr(shadowing, "BATCHES_WAITING", 1)
    slow = Slow()
    async with beside(slow):
        for row in tiny_rows(4):
            await ask_all(queue, row[np.newaxis])
        assert says_now(caplog, "too slow")
        slow.may_answer.set()
        assert 1 <= len(await read_until(shadows, 1)) < 4


async def test_question_to_the_candidate_itself_has_no_shadow(queue, shadows, beside):
    async with beside(Sound()):
        await ask_all(queue, tiny_rows(2), alias="candidate")
        await ask_all(queue, tiny_rows(1))
        assert {shadow.alias for shadow in await read_until(shadows, 1)} == {"champion"}


async def test_repeated_question_has_one_shadow(queue, shadows, beside):
    async with beside(Sound()) as worker:
        for _ in range(3):
            await ask_all(queue, tiny_rows(1))
        assert worker.tally.done == 1
        assert len(await read_until(shadows, 1)) == 1
    assert await shadows.read(GROUP, "reader") == []


async def test_entry_that_was_not_acknowledged_comes_again(queue, shadows, beside, monkeypatch):
    monkeypatch.setattr(stream, "IDLE_MS", 0)
    async with beside(Sound()):
        await ask_all(queue, tiny_rows(1))
        await until(lambda: has_entries(shadows, "lost"))
    (again,) = await shadows.read(GROUP, "heir")
    await shadows.acknowledge(GROUP, [again])
    assert await shadows.read(GROUP, "heir") == []


async def test_stream_nobody_reads_is_bounded(redis, live_settings, shadows, monkeypatch):
    monkeypatch.setattr(stream, "SHADOWS_MAX", 10)
    asked = ("task", 1, "snapshot", "request", "champion", "1", (0.5, 0.3, 0.2))
    shadow = ShadowPrediction(*asked, "candidate", "tiny", "9", "run", (0.4, 0.3, 0.3), NOW)
    await shadows.publish([shadow] * 1000)
    # approximate: whole nodes of a hundred go at once
    assert await redis.xlen(redis_keys.RedisKeys(live_settings.queue_name).shadows) <= 200


def test_shadow_that_no_worker_loads_is_refused(redis_url: str) -> None:
    with pytest.raises(ValidationError, match="SHADOW_ALIAS"):
        settings_for(redis_url, shadow_alias="nobody")


async def has_entries(shadows: ShadowStream, reader: str) -> bool:
    return bool(await shadows.read(GROUP, reader))


async def says(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return says_now(caplog, words)


def says_now(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in record.getMessage() for record in caplog.records)
