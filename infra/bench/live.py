"""How fast a live prediction is over HTTP, beside an older commit, arq as it comes, and the floor of its parts.

One API process, one worker process, one Redis and the clients share the machine; the others sleep meanwhile, and take
turns at every number of clients. Every question is another match, so every answer is computed; "asked before" is the
way of the answers that are known. CPU is that of the named process for one answer.
"""

import argparse
import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
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
from infra.bench.servers import Servers, awake, memory_mb, seen_by, send, usage_of, worktree
from infra.bench.synthetic import FIRST_ID, N_FEATURES, make_artifacts
from infra.local.children import Child
from infra.local.ports import free_port
from infra.local.redis import Redis
from worker.inference import predict_proba
from worker.predictors import BoosterPredictor

ROUNDS, DEPTH = 300, 6
N_MATCHES, N_WARM, N_KNOWN = 20_000, 2_000, 50
CLIENTS = (1, 3, 16, 64)
SECONDS, WARM_S = 2.0, 0.5
IDLE_S = 5.0
ARQ_POLLS_S = {"arq, polled every 5 ms": 0.005, "arq as it comes": 0.5}


@dataclass(frozen=True, slots=True)
class Way:
    """A service to be measured: where it listens, what it is asked for, and its processes by name."""

    name: str
    port: int
    paths: Path
    warm_paths: Path  # others, so that no answer is known before it is measured
    processes: Mapping[str, Child] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the clients saw of a way, and what each process used for one answer."""

    seen: Seen
    cpu_us: Mapping[str, float]
    waits: float


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


def start_ours(servers: Servers, folder: Path, name: str = "ours", code: Mapping[str, str] | None = None) -> Way:
    """Start the API as it is, or as the code of an older commit has it, and one worker process."""
    port, number = free_port(), len(servers.children)
    # an answer is forgotten at once, so that the next level's questions are computed too
    env = {"APP_PORT": str(port), "ARTIFACTS_URI": str(folder / "artifacts"), "RESULT_TTL_S": "1", **(code or {})}
    env |= {"QUEUE_NAME": f"bench:{number}", "TOUCHLINE_HOME": str(folder / f"var-{number}")}
    api = servers.start(f"api-{number}", "app", **env)
    worker = servers.start(f"worker-{number}", "infra.bench.live_servers", "ours", str(folder / "model.ubj"), **env)
    servers.wait_for(port, f"/predict/{FIRST_ID}")
    return Way(name, port, folder / "paths", folder / "warm", {"API": api, "worker": worker})


def start_arq(servers: Servers, folder: Path) -> Iterator[Way]:
    """The same task on arq, by how often it polls."""
    module, model = "infra.bench.live_servers", str(folder / "model.ubj")
    features = str(folder / "artifacts" / FEATURES)
    for name, poll_s in ARQ_POLLS_S.items():
        port, env = free_port(), {"QUEUE_NAME": f"bench:{poll_s}"}
        worker = servers.start(f"arq-{poll_s}", module, "arq", model, str(poll_s), **env)
        api = servers.start(f"arq-{poll_s}-api", module, "arq-api", features, str(port), str(poll_s), **env)
        servers.wait_for(port, f"/predict/{FIRST_ID}")
        yield Way(name, port, folder / "paths", folder / "warm", {"API": api, "worker": worker})


def _paths(file: Path, matches: Iterable[int]) -> Path:
    file.write_text("\n".join(f"/predict/{FIRST_ID + match}" for match in matches), encoding="utf-8")
    return file


def measure(servers: Servers, way: Way, clients: int, redis: Child) -> Measured:
    """What so many clients see, who have a process of their own; and what it costs."""
    processes = {**way.processes, "Redis": redis}
    with awake(way.processes.values()):
        # what slept as long as a heartbeat lives has to be seen again
        servers.wait_for(way.port, f"/predict/{FIRST_ID}")
        seen_by(way.port, clients, WARM_S, way.warm_paths)
        before = {name: usage_of(child.pid) for name, child in processes.items()}
        seen = seen_by(way.port, clients, SECONDS, way.paths)
        after = {name: usage_of(child.pid) for name, child in processes.items()}
    cpu_us = {name: 1e6 * (after[name].cpu_s - before[name].cpu_s) / seen.answers for name in processes}
    waits = sum(after[name].waits - before[name].waits for name in processes) / seen.answers
    return Measured(seen, cpu_us, waits)


def middle(measured: Sequence[Measured]) -> Measured:
    """Return the median of each figure; of those that failed or were known all of them."""
    seen = [each.seen for each in measured]
    p50_ms, p95_ms, p99_ms, per_s = (
        float(np.median([getattr(each, name) for each in seen])) for name in ("p50_ms", "p95_ms", "p99_ms", "per_s")
    )
    failed, known, answers = (sum(getattr(each, name) for each in seen) for name in ("failed", "known", "answers"))
    cpu_us = {name: float(np.median([each.cpu_us[name] for each in measured])) for name in measured[0].cpu_us}
    waits = float(np.median([each.waits for each in measured]))
    return Measured(Seen(seen[0].clients, p50_ms, p95_ms, p99_ms, per_s, failed, known, answers), cpu_us, waits)


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
    predictor = BoosterPredictor(booster)
    for n_rows in (1, 16, 64):
        rows = np.random.default_rng(2).normal(size=(n_rows, N_FEATURES)).astype(np.float32)
        yield f"{n_rows} rows by the worker's predictor", _median_ms(partial(predictor.probabilities, rows))
        yield f"{n_rows} rows by one inplace_predict", _median_ms(partial(predict_proba, booster, rows))


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


def start_all(servers: Servers, given: argparse.Namespace, folder: Path, stack: ExitStack) -> list[Way]:
    """Start every way that was asked for; all but the one that is measured sleep."""
    _paths(folder / "paths", range(N_WARM, given.matches))
    _paths(folder / "warm", range(N_WARM))
    ours = start_ours(servers, folder)
    known = _paths(folder / "known", range(N_KNOWN))
    ways = [ours, Way("ours, asked before", ours.port, known, known, ours.processes)]
    if given.before:
        code = stack.enter_context(worktree(given.before))
        ways.append(start_ours(servers, folder, f"ours at {given.before}", code))
    if not given.alone:
        ways += start_arq(servers, folder)
        bare = folder / "bare"
        bare.write_text("/bare", encoding="utf-8")
        ways.append(Way("floor: bare aiohttp", ways[-1].port, bare, bare, ways[-1].processes))
    return ways


def run(folder: Path, redis: Redis, child: Child, given: argparse.Namespace) -> None:
    """Measure and print; at every number of clients each way has its turn."""
    console = Console(width=130)
    booster = train(folder / "model.ubj")
    make_artifacts(folder / "artifacts", given.matches)
    env = {"REDIS_URL": redis.url, "MODEL_ALIASES": '["champion"]', "LOG_FORMAT": "json"}
    servers = Servers(folder, env | {"DATABASE_URL": given.database_url or ""})
    with ExitStack() as stack:
        stack.callback(servers.stop)
        ways = start_all(servers, given, folder, stack)
        for way in ways:
            memory = ", ".join(f"{name} {memory_mb(each.pid):.0f}" for name, each in way.processes.items())
            console.print(f"memory in MB, {way.name}: {memory}")
        stack.enter_context(_asleep(servers.children))
        with awake([ways[0].processes["worker"]]):
            console.print(f"idle Redis commands a second, one worker: {idle_commands_per_s(redis.url):.1f}")
        with awake(ways[0].processes.values()):
            console.print(f"with the API, which looks after both: {idle_commands_per_s(redis.url):.1f}")
        for name, took_ms in floor(redis.url, booster):
            console.print(f"floor: {name}: {took_ms:.2f} ms")
        for clients in given.clients:
            rounds = [[measure(servers, way, clients, child) for way in ways] for _ in range(given.rounds)]
            _print(console, ways, [middle(each) for each in zip(*rounds, strict=True)])


def _asleep(children: Sequence[Child]) -> ExitStack:
    """Stop all; wake them at the end."""
    stack = ExitStack()
    stack.callback(send, children, signal.SIGCONT)
    send(children, signal.SIGSTOP)
    return stack


def _print(console: Console, ways: Sequence[Way], measured: Sequence[Measured]) -> None:
    headings = (
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "per second",
        "API µs",
        "worker µs",
        "Redis µs",
        "waits",
        "known",
        "failed",
    )
    table = Table("way", "clients", *headings)
    for way, each in zip(ways, measured, strict=True):
        seen = each.seen
        times = [f"{value:.2f}" for value in (seen.p50_ms, seen.p95_ms, seen.p99_ms)]
        cpu = [f"{each.cpu_us.get(name, 0):,.0f}" for name in ("API", "worker", "Redis")]
        figures = (*times, f"{seen.per_s:,.0f}", *cpu, f"{each.waits:.1f}", str(seen.known), str(seen.failed))
        table.add_row(way.name, str(seen.clients), *figures)
    console.print(table)


def main(arguments: Sequence[str]) -> None:
    """Measure with a Redis of our own."""
    parser = argparse.ArgumentParser(prog="scripts/bench live", description=__doc__)
    parser.add_argument("--database-url", help="keep the ledger in this PostgreSQL meanwhile")
    parser.add_argument("--alone", action="store_true", help="without arq beside it")
    parser.add_argument("--before", metavar="COMMIT", help="measure the code of this commit in turn with ours")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS, help="how many ask at once, in turn")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each at every number of clients")
    parser.add_argument("--matches", type=int, default=N_MATCHES, help="matches in the snapshot")
    given = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        redis = Redis(Path(folder) / "redis")
        child = Child(redis.command())
        try:
            redis.wait_ready(child)
            run(Path(folder), redis, child, given)
        finally:
            child.stop()
