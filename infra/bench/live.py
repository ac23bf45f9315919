"""How fast a live prediction is over HTTP, beside arq as it comes, arq polled every 5 ms, and the floor of its parts.

One API process, one worker process, one Redis and the clients share the machine; the others sleep meanwhile. Every
question is another match, so every answer is computed; "asked before" is the way of the answers that are known.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import cast

import numpy as np
import redis as blocking_redis
import xgboost as xgb
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console
from rich.table import Table

from app.artifacts.contract import FEATURES
from infra.bench.clients import Seen
from infra.bench.servers import Servers, seen_by
from infra.bench.synthetic import FIRST_ID, N_FEATURES, make_artifacts
from infra.local.children import Child
from infra.local.ports import free_port
from infra.local.redis import Redis
from worker.inference import predict_proba

ROUNDS, DEPTH = 300, 4
N_MATCHES, N_KNOWN = 20_000, 50
CLIENTS = (1, 3, 16, 64, 256)
SECONDS = 2.0
IDLE_S = 5.0
ARQ_POLLS_S = {"arq, polled every 5 ms": 0.005, "arq as it comes": 0.5}


@dataclass(frozen=True, slots=True)
class Way:
    """A service to be measured: where it listens, what it is asked for, and who must be awake for it alone."""

    name: str
    port: int
    paths: Path
    alone: tuple[Child, ...] = ()


def train(path: Path, *, n_features: int = N_FEATURES, rounds: int = ROUNDS) -> xgb.Booster:
    """A booster of the size of the real one unless told otherwise: 300 rounds of 3 trees over 508 features."""
    random = np.random.default_rng(1)
    rows = (random.integers(-100, 100, (1500, n_features)) / 50).astype(np.float32)
    names = [f"feature_{number:03d}" for number in range(n_features)]
    matrix = xgb.DMatrix(rows, random.integers(0, 3, len(rows)), feature_names=names)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": DEPTH, "nthread": 2, "tree_method": "hist"}
    booster = xgb.train(params | {"colsample_bytree": 0.1}, matrix, rounds)
    booster.save_model(path)
    return booster


def start_ours(servers: Servers, model: Path, artifacts: Path) -> list[Way]:
    """The API as it is, and one worker process."""
    port = free_port()
    # an answer is forgotten at once, so that the next level's questions are computed too
    env = {"APP_PORT": str(port), "ARTIFACTS_URI": str(artifacts), "QUEUE_NAME": "bench", "RESULT_TTL_S": "1"}
    servers.start("api", "app", **env)
    servers.start("worker", "infra.bench.live_servers", "ours", str(model), **env)
    servers.wait_for(port, f"/predict/{FIRST_ID}")
    known = _paths(servers.home / "known", range(N_KNOWN))
    return [Way("ours", port, _paths(servers.home / "all", range(N_MATCHES))), Way("ours, asked before", port, known)]


def start_arq(servers: Servers, model: Path, artifacts: Path) -> Iterator[Way]:
    """The same task on arq, by how often it polls."""
    module = "infra.bench.live_servers"
    for name, poll_s in ARQ_POLLS_S.items():
        port, env = free_port(), {"QUEUE_NAME": f"bench:{poll_s}"}
        worker = servers.start(f"arq-{poll_s}", module, "arq", str(model), str(poll_s), **env)
        api = servers.start(f"arq-{poll_s}-api", module, "arq-api", str(artifacts), str(port), str(poll_s), **env)
        servers.wait_for(port, f"/predict/{FIRST_ID}")
        _send((worker, api), signal.SIGSTOP)
        yield Way(name, port, servers.home / "all", (worker, api))


def _paths(file: Path, matches: Iterable[int]) -> Path:
    file.write_text("\n".join(f"/predict/{FIRST_ID + match}" for match in matches), encoding="utf-8")
    return file


def ask(way: Way, clients: int) -> Seen:
    """What so many clients see; they have a process of their own."""
    with _awake(way.alone):
        return seen_by(way.port, clients, SECONDS, way.paths)


@contextmanager
def _awake(children: Sequence[Child]) -> Iterator[None]:
    """Let processes run for once: while others are measured they would take part of the machine."""
    _send(children, signal.SIGCONT)
    try:
        yield
    finally:
        _send(children, signal.SIGSTOP)


@contextmanager
def _asleep(children: Sequence[Child]) -> Iterator[None]:
    _send(children, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(children, signal.SIGCONT)


def _send(children: Iterable[Child], signum: signal.Signals) -> None:
    for child in children:
        os.kill(child.pid, signum)


def idle_commands_per_s(url: str) -> float:
    """Redis commands a second while nobody asks, those inside scripts too."""
    with blocking_redis.Redis.from_url(url) as client:
        before = _calls(client)
        sleep(IDLE_S)
        return (_calls(client) - before) / IDLE_S


def _calls(client: blocking_redis.Redis) -> int:
    commands = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return sum(command["calls"] for command in commands.values())


def floor(url: str, booster: xgb.Booster) -> Iterator[tuple[str, float]]:
    """The parts a live prediction cannot do without, each alone: median milliseconds."""
    yield "one Redis round trip", asyncio.run(_round_trip(url))
    booster.set_param({"nthread": 1})
    for n_rows in (1, 64):
        rows = np.random.default_rng(2).normal(size=(n_rows, N_FEATURES)).astype(np.float32)
        yield f"one inplace_predict of {n_rows} rows", _median_ms(partial(predict_proba, booster, rows))


async def _round_trip(url: str) -> float:
    took_ms = []
    async with AsyncRedis.from_url(url) as client:
        for _ in range(1000):
            start = perf_counter()
            await client.ping()
            took_ms.append(1000 * (perf_counter() - start))
    return float(np.median(took_ms))


def _median_ms(work: Callable[[], object]) -> float:
    took_ms = []
    for _ in range(300):
        start = perf_counter()
        work()
        took_ms.append(1000 * (perf_counter() - start))
    return float(np.median(took_ms))


def run(home: Path, redis: Redis, database_url: str | None, *, with_arq: bool) -> None:
    """Measure and print; at every number of clients each way has its turn."""
    console = Console(width=100)
    booster = train(home / "model.ubj")
    artifacts = make_artifacts(home / "artifacts", N_MATCHES)
    env = {"REDIS_URL": redis.url, "TOUCHLINE_HOME": str(home / "var"), "MODEL_ALIASES": '["champion"]'}
    servers = Servers(home, env | {"LOG_FORMAT": "json", "DATABASE_URL": database_url or ""})
    try:
        ways = start_ours(servers, home / "model.ubj", artifacts)
        with _asleep(servers.children[:1]):
            console.print(f"idle Redis commands a second, one worker: {idle_commands_per_s(redis.url):.1f}")
        console.print(f"with the API, which looks after both: {idle_commands_per_s(redis.url):.1f}")
        if with_arq:
            ways += start_arq(servers, home / "model.ubj", artifacts / FEATURES)
        for name, took_ms in floor(redis.url, booster):
            console.print(f"floor: {name}: {took_ms:.2f} ms")
        bare = [Way("floor: bare aiohttp", way.port, _bare(home), way.alone) for way in ways[-1:] if way.alone]
        _print(console, ((way, ask(way, clients)) for clients in CLIENTS for way in (*ways, *bare)))
    finally:
        servers.stop()


def _bare(home: Path) -> Path:
    (home / "bare").write_text("/bare", encoding="utf-8")
    return home / "bare"


def _print(console: Console, measured: Iterable[tuple[Way, Seen]]) -> None:
    table = Table("way", "clients", "p50 ms", "p95 ms", "p99 ms", "per second", "known", "failed")
    for way, seen in measured:
        times = [f"{value:.2f}" for value in (seen.p50_ms, seen.p95_ms, seen.p99_ms)]
        table.add_row(way.name, str(seen.clients), *times, f"{seen.per_s:,.0f}", str(seen.known), str(seen.failed))
    console.print(table)


def main(arguments: Sequence[str]) -> None:
    """Measure with a Redis of our own."""
    parser = argparse.ArgumentParser(prog="scripts/bench live", description=__doc__)
    parser.add_argument("--database-url", help="keep the ledger in this PostgreSQL meanwhile")
    parser.add_argument("--alone", action="store_true", help="without arq beside it")
    given = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        redis = Redis(Path(folder) / "redis")
        child = Child(redis.command())
        try:
            redis.wait_ready(child)
            run(Path(folder), redis, given.database_url, with_arq=not given.alone)
        finally:
            child.stop()
