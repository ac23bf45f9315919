"""Models move, fail and dawdle under load; nobody gets an error, or a number that is no model's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import numpy as np
import pytest

from app.queue.client import QueueClient
from app.queue.jobs import PredictionResult
from app.queue.redis_keys import LEASE_S
from infra.local.children import Child
from tests.support.live import a_job
from tests.support.models import FEATURES, TinyRegistry, none_for_nan, tiny_booster, tiny_rows
from tests.support.processes import Dawdler
from tests.support.serving import until
from worker.inference import predict_proba

pytestmark = pytest.mark.timeout(600)  # processes that import MLflow

AT_ONCE = 50


class Asking:
    """Callers who ask other questions all the time, and keep what they were told."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue
        self._number = 0
        self.is_over = False
        self.answers: list[tuple[np.ndarray, PredictionResult]] = []

    async def go_on(self) -> None:
        while not self.is_over:
            self._number += 1
            row = np.float32([self._number, *tiny_rows(1)[0][1:]])
            job = await a_job(self._queue, row, match_id=self._number)
            self.answers.append((row, await self._queue.predict(job, timeout_s=30)))

    def versions(self) -> Counter[str]:
        return Counter(answer.model_version for _, answer in self.answers)


@asynccontextmanager
async def asking(queue: QueueClient) -> AsyncIterator[Asking]:
    """Load for as long as the block lasts; an error of any question fails the test."""
    load = Asking(queue)
    callers = asyncio.gather(*[load.go_on() for _ in range(AT_ONCE)])
    try:
        yield load
    finally:
        load.is_over = True
        await callers


async def test_moved_alias_fails_no_request_and_mixes_no_answer(
    queue: QueueClient, pool: Child, registry: TinyRegistry
) -> None:
    """To a good version, which takes over, and to a bad one, which never answers."""
    boosters = {"1": tiny_booster(), registry.add_booster(tiny_booster(seed=5)): tiny_booster(seed=5)}
    first, good = boosters
    wrong = {"features": none_for_nan(tiny_rows(2)), "probabilities": [[0.2, 0.3, 0.5]] * 2}
    bad = registry.add_booster(tiny_booster(seed=6), golden=wrong)
    try:
        async with asking(queue) as load:
            await until(lambda: has_answered(load, first), timeout_s=60)
            registry.point("champion", good)
            await until(lambda: serve(queue, good), timeout_s=60)
            before = load.versions()[good]
            registry.point("champion", bad)
            await until(lambda: refuse(queue, bad), timeout_s=60)
            await until(lambda: has_answered(load, good, more_than=before + 10 * AT_ONCE), timeout_s=60)
    finally:
        registry.point("champion", first)
    assert set(load.versions()) == {first, good}
    for version, booster in boosters.items():
        mine = [(row, answer) for row, answer in load.answers if answer.model_version == version]
        expected = predict_proba(booster, np.stack([row for row, _ in mine]))
        assert np.array([answer.proba for _, answer in mine]) == pytest.approx(expected, abs=1e-6)


async def test_model_slower_than_a_lease_answers_once(queue: QueueClient, pool: Child, registry: TinyRegistry) -> None:
    """The other worker does not take the question over: its lease is renewed beside the model."""
    slow = registry.add_sklearn(Dawdler(LEASE_S + 2), names=FEATURES)
    before = registry.client.get_model_version_by_alias("tiny-match-outcome", "candidate").version
    registry.point("candidate", slow)
    try:
        await until(lambda: serve(queue, slow, alias="candidate"), timeout_s=60)
        done = await jobs_done(queue)
        started = monotonic()
        job = await a_job(queue, tiny_rows(1)[0], alias="candidate")
        answer = await queue.predict(job, timeout_s=30)
        assert monotonic() - started > LEASE_S
        assert (answer.model_version, answer.proba) == (slow, pytest.approx(Dawdler.ANSWER))
        await asyncio.sleep(2)  # a second answer, and the beat that tells of it, would be there by now
        assert await jobs_done(queue) == done + 1
    finally:
        registry.point("candidate", before)


async def has_answered(load: Asking, version: str, more_than: int = AT_ONCE) -> bool:
    return load.versions()[version] > more_than


async def serve(queue: QueueClient, version: str, alias: str = "champion") -> bool:
    """Whether both workers serve a version and no other."""
    workers = await queue.workers()
    return len(workers) == 2 and all(worker.models.get(alias) == version for worker in workers)


async def refuse(queue: QueueClient, version: str) -> bool:
    """Whether both workers say that they refuse a version."""
    return [version in worker.refused.get("champion", "") for worker in await queue.workers()] == [True, True]


async def jobs_done(queue: QueueClient) -> int:
    return sum(worker.jobs_done for worker in await queue.workers())
