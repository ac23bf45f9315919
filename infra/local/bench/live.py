"""How fast the live path is from question to answer, beside stock arq and beside its own floor."""

import argparse
import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time

import numpy as np
import xgboost as xgb
from arq import Worker
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.queue.connection import connect, disconnect
from app.queue.jobs import Job, ModelInfo, PredictJob
from app.queue.port import PredictionQueue
from app.queue.wire import job_payload
from app.settings import Settings
from infra.local.children import Child
from infra.local.redis import Redis
from worker.inference import Rows, predict_proba
from worker.loaded import LoadedModel
from worker.main import serve, stock_settings
from worker.predictors import BoosterPredictor

N_FEATURES, ROUNDS, DEPTH = 508, 300, 4
NAMES = tuple(f"f{column}" for column in range(N_FEATURES))
CLIENTS = (1, 3, 16, 64, 256)
STOCK_CLIENTS = (1, 64)
SECONDS = 2.0

Ask = Callable[[PredictJob], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured at one number of clients."""

    way: str
    clients: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    per_s: float


class FileSource:
    """One booster from a file, as champion."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def version_of(self, alias: str) -> str | None:
        """Always the same."""
        return "1" if alias == "champion" else None

    def load(self, alias: str, version: str) -> LoadedModel:
        """Read the file."""
        now = datetime.now(UTC)
        info = ModelInfo(alias, "bench", version, "bench", "xgboost", None, now, N_FEATURES, None, {}, {})
        return LoadedModel(info, NAMES, BoosterPredictor(xgb.Booster(model_file=self._path)))


def train(path: Path) -> xgb.Booster:
    """A booster of the size of the real one."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(1500, N_FEATURES)).astype(np.float32)
    matrix = xgb.DMatrix(rows, random.integers(0, 3, len(rows)), feature_names=list(NAMES))
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": DEPTH, "nthread": 2, "tree_method": "hist"}
    booster = xgb.train(params | {"colsample_bytree": 0.1}, matrix, ROUNDS)
    booster.save_model(path)
    return booster


def _serve_ours(settings: Settings, path: Path) -> None:
    asyncio.run(serve(settings, source=lambda _: FileSource(path)))


def _serve_stock(settings: Settings, path: Path) -> None:
    async def work() -> None:
        worker = Worker(**stock_settings(settings, source=lambda _: FileSource(path)), log_results=False)
        with suppress(asyncio.CancelledError):
            await worker.async_run()  # arq ends it on SIGTERM

    asyncio.run(work())


@asynccontextmanager
async def _worker(target: Callable[[Settings, Path], None], settings: Settings, path: Path) -> AsyncIterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=target, args=(settings, path), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(process.join, 15)


async def measure(way: str, ask: Ask, jobs: "Jobs", clients: int) -> Timing:
    """Ask for some seconds with so many clients, each as soon as it has its answer."""
    took_ms: list[float] = []
    end = perf_counter() + SECONDS

    async def client() -> None:
        while perf_counter() < end or not took_ms:
            job = jobs.next()
            start = perf_counter()
            await ask(job)
            took_ms.append((perf_counter() - start) * 1000)

    start = perf_counter()
    await asyncio.gather(*[client() for _ in range(clients)])
    p50, p95, p99 = np.percentile(took_ms, [50, 95, 99])
    return Timing(way, clients, float(p50), float(p95), float(p99), len(took_ms) / (perf_counter() - start))


class Jobs:
    """Questions, no two alike."""

    def __init__(self, feature_set: str, rows: Rows) -> None:
        self._rows = [row.tobytes() for row in rows]
        self._first = PredictJob(0, "champion", b"", feature_set, "bench", "", "bench", 0.0)
        self._number = round(time() * 1e6)  # other questions than the last run's, whose answers Redis still knows

    def next(self) -> PredictJob:
        """The next one."""
        self._number += 1
        features = self._rows[self._number % len(self._rows)]
        return replace(self._first, match_id=self._number, features=features, deadline_at=time() + 60)


async def _ours(settings: Settings, path: Path, rows: Rows) -> AsyncIterator[Timing]:
    async with _worker(_serve_ours, settings, path), PredictionQueue.open(settings) as queue:
        jobs = await _ready(queue, rows)
        yield await _idle(settings)
        for clients in CLIENTS:
            yield await measure("ours", lambda job: queue.predict(job, timeout_s=60), jobs, clients)


async def _stock(settings: Settings, path: Path, rows: Rows) -> AsyncIterator[Timing]:
    redis = connect(settings)

    async def ask(job: PredictJob) -> object:
        enqueued = await redis.enqueue_job(Job.PREDICT_MATCH, job_payload(job))
        if enqueued is None:
            raise RuntimeError("the job was not accepted")
        return await enqueued.result(timeout=60)

    async with _worker(_serve_stock, settings, path), PredictionQueue.open(settings) as queue:
        jobs = await _ready(queue, rows)
        for clients in STOCK_CLIENTS:
            yield await measure("stock arq", ask, jobs, clients)
    await disconnect(redis)


async def _ready(queue: PredictionQueue, rows: Rows) -> Jobs:
    async with asyncio.timeout(60):
        while not await queue.models():  # noqa: ASYNC110  # what is waited for happens in Redis
            await asyncio.sleep(0.1)
    return Jobs(await queue.announce_features(NAMES), rows)


async def _idle(settings: Settings) -> Timing:
    """Redis commands a second while nobody asks."""
    redis = connect(settings)
    await asyncio.sleep(1)
    before = (await redis.info("stats"))["total_commands_processed"]
    await asyncio.sleep(SECONDS)
    after = (await redis.info("stats"))["total_commands_processed"]
    await disconnect(redis)
    return Timing("idle Redis commands", 0, 0, 0, 0, (after - before) / SECONDS)


async def _floor(settings: Settings, booster: xgb.Booster, rows: Rows) -> AsyncIterator[Timing]:
    redis = connect(settings)
    jobs = Jobs("", rows[:1])
    yield await measure("floor: one Redis round trip", lambda _: redis.ping(), jobs, 1)
    await disconnect(redis)
    booster.set_param({"nthread": 1})

    for n_rows in (1, 64):

        async def predict(_: PredictJob, part: Rows = rows[:n_rows]) -> object:
            return predict_proba(booster, part)

        yield await measure(f"floor: one predict_proba of {n_rows} rows", predict, jobs, 1)


async def run(settings: Settings) -> None:
    """Measure and print."""
    rows = np.random.default_rng(2).normal(size=(2000, N_FEATURES)).astype(np.float32)
    table = Table("way", "clients", "p50 ms", "p95 ms", "p99 ms", "per second")
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        path = Path(folder) / "model.ubj"
        booster = train(path)
        stock = settings.model_copy(update={"queue_name": f"{settings.queue_name}:stock"})
        for part in (_floor(settings, booster, rows), _ours(settings, path, rows), _stock(stock, path, rows)):
            async for timing in part:
                table.add_row(timing.way, str(timing.clients), *_numbers(timing))
                Console().print(timing)
    Console().print(table)


def _numbers(timing: Timing) -> list[str]:
    return [f"{number:.2f}" for number in (timing.p50_ms, timing.p95_ms, timing.p99_ms)] + [f"{timing.per_s:,.0f}"]


def main(arguments: Sequence[str]) -> None:
    """Measure with a Redis of our own."""
    argparse.ArgumentParser(prog="scripts/bench live", description=__doc__).parse_args(arguments)
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        redis = Redis(Path(folder))
        child = Child(redis.command())
        try:
            redis.wait_ready(child)
            asyncio.run(run(Settings(redis_url=SecretStr(redis.url), queue_name="bench", model_aliases=("champion",))))
        finally:
            child.stop()
