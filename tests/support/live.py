"""The live path for tests: a tiny registry, a port, and a worker in this process."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pytest
import xgboost as xgb
from arq.connections import ArqRedis

from app.queue.client import QueueClient
from app.queue.jobs import ModelInfo, PredictionRequest
from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.workers import WorkerRegistry
from app.settings import Settings
from tests.support.models import FEATURES, NAME, TinyRegistry, tiny_booster
from worker.batch_worker import BatchWorker
from worker.inference import Probabilities, Rows
from worker.main import make_worker
from worker.model_manager import ModelSource
from worker.predictors import BoosterPredictor, LoadedModel, ModelRefused
from worker.tasks import CONTEXT

# fewer features, and in another order
CANDIDATE_FEATURES = ("rest_days_diff", "elo_away", "elo_home")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> TinyRegistry:
    """A registry with a champion and a candidate; tests that move aliases restore them."""
    registry = TinyRegistry(tmp_path_factory.mktemp("registry")).prepare()
    registry.add_booster(tiny_booster(), alias="champion")
    registry.add_booster(tiny_booster(CANDIDATE_FEATURES, seed=2), names=CANDIDATE_FEATURES, alias="candidate")
    return registry


@pytest.fixture
def live_settings(redis_url: str) -> Settings:
    """Settings with a queue of its own, and no registry."""
    return settings_for(redis_url, model_aliases=("champion",))


@pytest.fixture
def registry_settings(redis_url: str, registry: TinyRegistry) -> Settings:
    """Settings with a queue of its own and the tiny registry."""
    return settings_for(redis_url, mlflow_tracking_uri=registry.uri)


def settings_for(redis_url: str, **changes: object) -> Settings:
    """Settings of a live path; a queue of its own unless told otherwise."""
    values: dict[str, object] = {
        "redis_url": redis_url,
        "queue_name": f"test:{uuid4().hex[:8]}",
        "model_name": NAME,
        "model_poll_s": 0.1,
        # a check that falls due in the middle of a test would be one more job
        "drift_hours": (),
        "_env_file": None,
    }
    return Settings(**values | changes)  # type: ignore[arg-type]  # pydantic checks them


@pytest.fixture
async def queue(live_settings: Settings) -> AsyncIterator[QueueClient]:
    """The port."""
    async with QueueClient.open(live_settings) as queue:
        yield queue


@pytest.fixture
async def redis(live_settings: Settings) -> AsyncIterator[ArqRedis]:
    """A stock arq client of the same Redis, with our serialiser."""
    redis = connect(live_settings)
    yield redis
    await disconnect(redis)


@pytest.fixture
def shelf_source() -> "MemorySource":
    """Tiny models from memory."""
    return MemorySource()


@pytest.fixture
async def worker(live_settings: Settings, shelf_source: "MemorySource") -> AsyncIterator[BatchWorker]:
    """A worker that serves a tiny booster as champion."""
    async with serving(live_settings, shelf_source) as worker:
        yield worker


def model_thread(worker: BatchWorker) -> Executor:
    """Have a worker compute everything in a thread, as it computes a slow kind of model; return the thread."""
    worker.ctx[CONTEXT] = replace(worker.ctx[CONTEXT], may_use_loop=False)
    thread: Executor = worker.ctx[CONTEXT].thread
    return thread


class Marked:
    """A real booster behind a door that fails on marked rows, as a model with a bug does."""

    MARK = 666.0
    is_mended = False

    def __init__(self, booster: xgb.Booster) -> None:
        self._inner = BoosterPredictor(booster)
        self.calls = 0

    @property
    def quick_rows(self) -> int:
        return self._inner.quick_rows

    def probabilities(self, rows: Rows) -> Probabilities:
        self.calls += 1
        if (rows == self.MARK).any() and not self.is_mended:
            raise ZeroDivisionError("a marked row")
        return self._inner.probabilities(rows)

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        return self._inner.contributions(rows)


class MemorySource:
    """A registry in memory: one alias, whose version a test moves; version "bad" is refused.

    The next `failures` loads of a sound version fail as they do while the artifact store is away.
    """

    def __init__(self) -> None:
        self.alias = "champion"
        self.version: str | None = "1"
        self.loads: list[str] = []
        self.is_away = False
        self.failures = 0
        self.looks = 0

    def version_of(self, alias: str) -> str | None:
        self.looks += 1
        if self.is_away:
            raise ConnectionError("the registry is away")
        return self.version if alias == self.alias else None

    def load(self, alias: str, version: str) -> LoadedModel:
        self.loads.append(version)
        if version == "bad":
            raise ModelRefused("answers differ from the golden rows")
        if self.failures:
            self.failures -= 1
            raise OSError("the file cannot be read")
        predictor = Marked(tiny_booster(seed=int(version)))
        return LoadedModel(an_info(alias, version), FEATURES, predictor)


def an_info(alias: str = "champion", version: str = "1") -> ModelInfo:
    """What is known of a tiny model."""
    return ModelInfo(
        alias=alias,
        name=NAME,
        version=version,
        run_id=f"run-{version}",
        flavor="xgboost",
        registered_at=None,
        loaded_at=datetime.now(UTC),
        n_features=len(FEATURES),
        trained_until=None,
        metrics={},
        tags={},
    )


@asynccontextmanager
async def serving(settings: Settings, source: ModelSource | None = None) -> AsyncIterator[BatchWorker]:
    """A worker in this process that has loaded its models and said so; from `source` instead of the registry."""
    redis = connect(settings)
    worker = make_worker(settings, redis, source=None if source is None else lambda _: source)
    work = asyncio.create_task(worker.main())
    started = asyncio.create_task(worker.serving.wait())
    try:
        await asyncio.wait({work, started}, return_when=asyncio.FIRST_COMPLETED)
        with suppress(*REDIS_ERRORS):
            await _says_so(WorkerRegistry(redis, RedisKeys(settings.queue_name)), work)
        yield worker
    finally:
        started.cancel()
        worker.drain()
        with suppress(asyncio.CancelledError):
            await work
        await worker.close()
        await disconnect(redis)


async def _says_so(roster: WorkerRegistry, work: "asyncio.Task[None]") -> None:
    """Wait for the beat with the models: a question before it is of no version's, and its answer is not shared."""
    while not work.done() and not any(beat.ready for beat in await roster.heartbeats()):
        await asyncio.sleep(0.01)
        roster.invalidate()


async def a_job(queue: QueueClient, row: Rows, **changes: object) -> PredictionRequest:
    """A question about a feature row of the tiny models."""
    values: dict[str, object] = {
        "match_id": 7,
        "alias": "champion",
        "features": np.asarray(row, dtype="<f4").tobytes(),
        "feature_set": await queue.announce_features(FEATURES),
        "snapshot_id": "snapshot-1",
        "features_computed_at": "2026-08-01T00:00:00+00:00",
        "request_id": "request-1",
        "deadline_at": time.time() + 30,
        "explain": False,
    }
    return PredictionRequest(**values | changes)  # type: ignore[arg-type]  # the tests name the fields
