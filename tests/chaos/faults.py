"""All of Touchline under mixed load while faults strike at random, and what must hold all the while and after each.

`python -m infra.local` runs it as `scripts/run` does: API, two worker processes, page, PostgreSQL, kept alive by the
supervisor. Redis is ours here, behind a proxy that can make it slow. Faults: a process is killed or stopped, a disk or
Redis' memory is full, the network is slow, a worker's clock is wrong, an alias moves, an artifact set comes, good or
broken. All the while: no answer contradicts another, none is a failure that only a defect explains, `/livez` is asked
20 times a second. After each: how long until a read and a live prediction succeed and readiness is green; and
readiness may be green only if they do. At the end: each answered prediction stands in the ledger, once.
"""

import asyncio
import itertools
import os
import random
import re
import resource
import shlex
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import asyncpg
import psutil
import pyarrow as pa
from redis.asyncio import Redis as RedisClient

from app.artifacts.contract import PREDICTIONS
from infra.local.children import Child, Command
from infra.local.ports import free_port
from infra.local.redis import Redis
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.models import FEATURES, NAME, TinyRegistry, tiny_booster
from tests.support.slow_proxy import SlowProxy, slow_proxy
from tests.support.storm import doubled, publish
from worker.inference import predict_proba

ROOT = Path(__file__).parents[2]
N_MATCHES = 60
HANG_S = 120.0  # after this a part counts as never coming back
FAULT_S = 3.0
_STEADY_S = 2.0  # readiness looks at its parts once a second
API, WORKERS, POSTGRES = r"-m app$", r"-m worker", r"postgres"  # in command lines
Json = dict[str, Any]
# what a fault may do to an answer: it is not there yet, or comes too late
_EXCUSED = {503, 504}


@dataclass
class Observations:
    """What the load saw; `violations` are sentences, and none is right."""

    n_live: int = 0
    n_reads: int = 0
    n_excused: int = 0
    answered: dict[str, int] = field(default_factory=dict)  # request id of each live answer by its match
    probabilities: dict[tuple[int, str, str], tuple[float, ...]] = field(default_factory=dict)
    bodies: dict[tuple[str, str], bytes] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    livez_ms: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def note_live(self, request_id: str, answer: Json) -> None:
        """Hold a live answer against all others to the same question."""
        self.n_live += 1
        self.answered[request_id] = answer["match_id"]
        question = (answer["match_id"], answer["model"]["version"], answer["snapshot_id"])
        found = tuple(answer["probabilities"].values())
        known = self.probabilities.setdefault(question, found)
        if max(abs(one - other) for one, other in zip(found, known, strict=True)) > 1e-6:
            self.violations.append(f"two answers to {question}: {known} and {found}")

    def note_read(self, path: str, tag: str, body: bytes) -> None:
        """Hold a read against all others under its tag."""
        self.n_reads += 1
        if self.bodies.setdefault((path, tag), body) != body:
            self.violations.append(f"two bodies of {path} under {tag}")


@dataclass(frozen=True)
class Recovery:
    """One fault and how long after its end all was well."""

    fault: str
    seconds: float
    livez_max_ms: float


@dataclass(frozen=True)
class Use:
    """What the system uses: memory and descriptors of all its processes, keys in Redis, bytes on disk.

    Not the disk of PostgreSQL: the ledger keeps every answer, and is meant to grow.
    """

    rss_mb: float
    n_fds: int
    n_keys: int
    disk_mb: float


class System:
    """A running Touchline and the hands that hurt it."""

    def __init__(self, home: Path, registry: TinyRegistry, sets: list[Path]) -> None:
        self.home = home
        self.registry = registry
        self.app_port, self.page_port, self.metrics_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.app_port}"
        self.redis = Redis(home / "redis")
        self.redis_child: Child | None = None
        self.proxy: SlowProxy | None = None
        self.launcher: Child | None = None
        self.seen = Observations()
        self.sets = itertools.cycle(sets)
        self.target = home / "artifacts"
        self.n_published = 0
        self._versions = itertools.cycle(["2", "1"])

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator["System"]:
        """Start all of it, ready for a live prediction; nothing is left when it ends."""
        home = folder / "home"
        home.mkdir(parents=True)
        registry = await asyncio.to_thread(_two_versions, folder / "registry")
        sets = await asyncio.to_thread(_artifact_sets, folder)
        system = cls(home, registry, sets)
        await system.publish_good()
        async with AsyncExitStack() as stack:
            await system.start_redis()
            stack.push_async_callback(system._stop_redis)
            system.proxy = await stack.enter_async_context(slow_proxy(system.redis.port, 0.0))
            system.launcher = await asyncio.to_thread(Child, system._command())
            stack.push_async_callback(asyncio.to_thread, system.launcher.stop)
            await system.until_well()
            yield system

    def _command(self) -> Command:
        assert self.proxy is not None
        url = self.redis.url.replace(f":{self.redis.port}/", f":{self.proxy.port}/")
        env = {
            "TOUCHLINE_HOME": str(self.home),
            "APP_PORT": str(self.app_port),
            "DASHBOARD_PORT": str(self.page_port),
            "WORKER_METRICS_PORT": str(self.metrics_port),
            "REDIS_URL": url,
            "ARTIFACTS_URI": str(self.target),
            "MLFLOW_TRACKING_URI": self.registry.uri,
            "MODEL_NAME": NAME,
            "MODEL_ALIASES": '["champion"]',
            "MODEL_POLL_S": "0.5",
            "ARTIFACT_POLL_S": "0.2",
            "RESULT_TTL_S": "60",
            "WORKER_PROCESSES": "2",
            "PYTHONPATH": str(ROOT),
        }
        return Command("Touchline", [sys.executable, "-m", "infra.local"], log=self.home / "terminal.log", env=env)

    # hands

    async def start_redis(self) -> None:
        """Start Redis, or start it again."""
        self.redis_child = await asyncio.to_thread(Child, self.redis.command())
        await asyncio.to_thread(self.redis.wait_ready, self.redis_child)

    async def _stop_redis(self) -> None:
        assert self.redis_child is not None
        await asyncio.to_thread(self.redis_child.stop)

    async def redis_process(self) -> psutil.Process:
        """Redis' own."""
        assert self.redis_child is not None
        return psutil.Process(self.redis_child.pid)

    async def publish_good(self) -> None:
        """Publish the next good set of artifacts."""
        self.n_published += 1
        await asyncio.to_thread(publish, next(self.sets), self.target, self.n_published)

    async def process(self, pattern: str) -> psutil.Process:
        """The child of the launcher whose command line has the pattern, once there is one."""
        assert self.launcher is not None
        launcher, deadline = psutil.Process(self.launcher.pid), time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            with suppress(psutil.NoSuchProcess):
                for child in launcher.children():
                    if re.search(pattern, " ".join(child.cmdline())):
                        return child
            await asyncio.sleep(0.05)
        raise AssertionError(f"no process {pattern} after {HANG_S:g} s")

    async def fork_server(self) -> psutil.Process:
        """The process off which the workers are forked."""
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            for child in (await self.process(WORKERS)).children():
                if "forkserver" in " ".join(child.cmdline()):
                    return child
            await asyncio.sleep(0.05)
        raise AssertionError(f"no fork server after {HANG_S:g} s")

    async def worker(self) -> psutil.Process:
        """One of the processes that predict."""
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            if workers := (await self.fork_server()).children():
                return workers[0]
            await asyncio.sleep(0.05)
        raise AssertionError(f"no worker after {HANG_S:g} s")

    @asynccontextmanager
    async def redis_config(self, name: str, value: str, back: str) -> AsyncIterator[None]:
        """Change a setting of Redis for a while."""
        async with RedisClient.from_url(self.redis.url) as client:
            await client.config_set(name, value)
            try:
                yield
            finally:
                await client.config_set(name, back)

    # what must hold

    async def ask_json(self, path: str) -> tuple[int, Json]:
        """Status and body of a read of our own; 0 when nobody answered."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session,
                session.get(self.url + path) as response,
            ):
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return 0, {}

    async def is_well(self) -> bool:
        """Whether readiness is green in every part, and a live prediction and a read succeed."""
        status, ready = await self.ask_json("/readyz")
        if status != 200 or ready["degraded"]:
            return False
        match_id = FIRST_ID + N_MATCHES - 1
        works = [(await self.ask_json(path))[0] for path in (f"/predict/{match_id}", "/predict/cards/?limit=1")]
        if works == [200, 200]:
            return True
        status, ready = await self.ask_json("/readyz")
        if status == 200 and not ready["degraded"]:
            self.seen.violations.append(f"readiness was green before and after these statuses: {works}")
        return False

    async def until_well(self) -> float:
        """Wait until all is well and stays so; the seconds until it was."""
        began, well_since = time.monotonic(), None
        while well_since is None or time.monotonic() - well_since < _STEADY_S:
            if not await self.is_well():
                well_since = None
            elif well_since is None:
                well_since = time.monotonic()
            if time.monotonic() - began > HANG_S:
                _, ready = await self.ask_json("/readyz")
                raise AssertionError(
                    f"not well after {HANG_S:g} s: {ready}\n{(self.home / 'terminal.log').read_text()}"
                )
            await asyncio.sleep(0.1)
        return well_since - began

    async def strike(self, name: str) -> Recovery:
        """Let one fault happen, wait until all is well, and say how long that took."""
        first_livez = len(self.seen.livez_ms)
        await FAULTS[name](self)
        seconds = await self.until_well()
        return Recovery(name, seconds, max(self.seen.livez_ms[first_livez:], default=0.0))

    async def missing_in_ledger(self) -> list[str]:
        """Answered predictions that do not stand in the ledger once, after it had time to write."""
        lines = (self.home / "run.env").read_text().splitlines()
        url = next(shlex.split(line)[0].partition("=")[2] for line in lines if line.startswith("DATABASE_URL="))
        deadline = time.monotonic() + HANG_S
        while True:
            connection = await asyncpg.connect(url)
            rows = await connection.fetch("SELECT request_id, count(*) AS n FROM prediction_ledger GROUP BY request_id")
            await connection.close()
            counts = {row["request_id"]: row["n"] for row in rows}
            wrong = [request for request in self.seen.answered if counts.get(request, 0) != 1]
            if not wrong or time.monotonic() > deadline:
                return wrong
            await asyncio.sleep(0.3)

    async def use(self) -> Use:
        """What the system uses at the moment."""
        assert self.launcher is not None
        family = [psutil.Process(self.launcher.pid)]
        family += family[0].children(recursive=True)
        rss, fds = 0, 0
        for process in family:
            with suppress(psutil.Error):
                rss += process.memory_info().rss
                fds += process.num_fds()
        async with RedisClient.from_url(self.redis.url) as client:
            n_keys = await client.dbsize()
        parts = [path for path in self.home.iterdir() if path.name != "postgres"]
        sizes = await asyncio.to_thread(lambda: sum(_size(path) for part in parts for path in (part, *part.rglob("*"))))
        return Use(rss / 2**20, fds, n_keys, sizes / 2**20)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_blocks * 512
    return 0


def _two_versions(home: Path) -> TinyRegistry:
    home.mkdir(parents=True)
    registry = TinyRegistry(home).prepare()
    registry.add_booster(tiny_booster(seed=1), alias="champion")
    registry.add_booster(tiny_booster(seed=2))
    return registry


def _artifact_sets(folder: Path) -> list[Path]:
    """Three sets with other features and probabilities and the same results: results seldom change."""
    booster = tiny_booster(seed=1)
    results: dict[str, pa.ChunkedArray] = {}

    def with_first_results(table: pa.Table) -> pa.Table:
        for name in ("home_score", "away_score", "outcome"):
            column = results.setdefault(name, table[name])
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    return [
        write_artifacts(
            folder / f"set-{seed}",
            n_matches=N_MATCHES,
            seed=seed,
            feature_names=FEATURES,
            predict=lambda rows: predict_proba(booster, rows),
            with_history=True,
            edit={PREDICTIONS: with_first_results},
        )
        for seed in range(3)
    ]


# faults


async def _kill(looked_for: Awaitable[psutil.Process]) -> None:
    process = await looked_for
    process.kill()
    with suppress(psutil.Error):
        await asyncio.to_thread(process.wait, 10)


async def _stop(looked_for: Awaitable[psutil.Process]) -> None:
    """Stop it as an overloaded host does, and let it go on."""
    process = await looked_for
    process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(FAULT_S)
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


async def _kill_redis(system: System) -> None:
    assert system.redis_child is not None
    await asyncio.sleep(1.2)  # what was accepted is on disk: the append-only file is flushed every second
    os.kill(system.redis_child.pid, signal.SIGKILL)
    await asyncio.to_thread(system.redis_child.wait, 10)
    await system.start_redis()


async def _stop_redis_for_a_while(system: System) -> None:
    await _stop(system.redis_process())


async def _fill_disk(system: System) -> None:
    """No file of the API may grow, while new artifacts come."""
    pid = (await system.process(API)).pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        await system.publish_good()
        await asyncio.sleep(FAULT_S)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def _fill_redis(system: System) -> None:
    async with system.redis_config("maxmemory", "1mb", "0"):
        await asyncio.sleep(FAULT_S)


async def _slow_network(system: System) -> None:
    assert system.proxy is not None
    system.proxy.delay_s = 0.15
    try:
        await asyncio.sleep(FAULT_S)
    finally:
        system.proxy.delay_s = 0.0


async def _wrong_clock(system: System) -> None:
    """One more worker joins, from a host whose clock is half a minute ahead or behind."""
    shift_s = random.choice([-30, 30])
    env = dict(system._command().env) | {"WORKER_METRICS_PORT": "0", "MODEL_NAME": NAME}
    argv = [sys.executable, "-m", "tests.support.shifted_worker", str(shift_s), "registry"]
    child = await asyncio.to_thread(Child, Command("worker", argv, log=system.home / "shifted.log", env=env))
    try:
        await asyncio.sleep(4 * FAULT_S)  # it imports MLflow first
    finally:
        await asyncio.to_thread(child.stop)


async def _move_alias(system: System) -> None:
    await asyncio.to_thread(system.registry.point, "champion", next(system._versions))
    await asyncio.sleep(FAULT_S)


async def _publish_good(system: System) -> None:
    await system.publish_good()
    await asyncio.sleep(1.0)


async def _publish_broken(system: System) -> None:
    """A set that must be refused, and then a good one: until it comes readiness may say degraded."""
    broken = system.home.parent / f"broken-{system.n_published}"
    await asyncio.to_thread(_broken_set, broken)
    system.n_published += 1
    await asyncio.to_thread(publish, broken, system.target, system.n_published)
    await asyncio.sleep(FAULT_S)
    await system.publish_good()


def _broken_set(folder: Path) -> None:
    write_artifacts(folder, n_matches=N_MATCHES, feature_names=FEATURES)
    doubled(folder)


Fault = Callable[[System], Awaitable[None]]
FAULTS: dict[str, Fault] = {
    "API killed": lambda system: _kill(system.process(API)),
    "worker parent killed": lambda system: _kill(system.process(WORKERS)),
    "worker killed": lambda system: _kill(system.worker()),
    "fork server killed": lambda system: _kill(system.fork_server()),
    "PostgreSQL killed": lambda system: _kill(system.process(POSTGRES)),
    "Redis killed": _kill_redis,
    "API stopped for 3 s": lambda system: _stop(system.process(API)),
    "worker stopped for 3 s": lambda system: _stop(system.worker()),
    "PostgreSQL stopped for 3 s": lambda system: _stop(system.process(POSTGRES)),
    "Redis stopped for 3 s": _stop_redis_for_a_while,
    "disk full for 3 s": _fill_disk,
    "Redis full for 3 s": _fill_redis,
    "Redis 150 ms away for 3 s": _slow_network,
    "worker with a wrong clock": _wrong_clock,
    "alias moved": _move_alias,
    "good artifacts": _publish_good,
    "broken artifacts": _publish_broken,
}


# load


async def _ask_live(system: System, rng: random.Random) -> None:
    async with aiohttp.ClientSession(system.url, timeout=aiohttp.ClientTimeout(40)) as session:
        while True:
            match_id = FIRST_ID + rng.randrange(N_MATCHES)
            try:
                async with session.get(f"/predict/{match_id}") as response:
                    body = await response.json()
                    _note_status(system.seen, response.status, f"/predict/{match_id}: {body}")
                    if response.status == 200:
                        system.seen.note_live(response.headers["X-Request-ID"], body)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                system.seen.n_excused += 1
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.02)


async def _ask_reads(system: System) -> None:
    paths = (
        "/predict/cards/?limit=50",
        "/predict/predictions/",
        f"/predict/precomputed/{FIRST_ID}",
        "/predict/facets/",
    )
    async with aiohttp.ClientSession(system.url, timeout=aiohttp.ClientTimeout(40)) as session:
        for path in itertools.cycle(paths):
            try:
                async with session.get(path) as response:
                    body = await response.read()
                    _note_status(system.seen, response.status, f"{path}: {body[:200]!r}")
                    if response.status == 200:
                        system.seen.note_read(path, response.headers["ETag"], body)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                system.seen.n_excused += 1
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)


async def _ask_livez(system: System) -> None:
    async with aiohttp.ClientSession(system.url) as session:
        while True:
            began = time.perf_counter()
            with suppress(aiohttp.ClientError, ConnectionError):
                async with session.get("/livez") as response:
                    await response.read()
                system.seen.livez_ms.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(0.05)


def _note_status(seen: Observations, status: int, about: str) -> None:
    seen.statuses[status] += 1
    if status in _EXCUSED:
        seen.n_excused += 1
    elif status != 200:
        seen.violations.append(f"{status} for {about}")


@asynccontextmanager
async def load(system: System, *, n_live: int = 3) -> AsyncIterator[None]:
    """Ask all the while."""
    tasks = [asyncio.create_task(_ask_live(system, random.Random(number))) for number in range(n_live)]
    tasks += [asyncio.create_task(_ask_reads(system)), asyncio.create_task(_ask_livez(system))]
    try:
        yield
        broken = [task for task in tasks if task.done()]
        assert not broken, broken
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def strike_at_random(system: System, *, seconds: float, seed: int) -> list[Recovery]:
    """Let every fault happen once, in random order, and go on at random until the time is over."""
    rng = random.Random(seed)
    first = rng.sample(sorted(FAULTS), len(FAULTS))
    recoveries: list[Recovery] = []
    deadline = time.monotonic() + seconds
    async with load(system):
        for name in itertools.chain(first, _drawn(rng)):
            if time.monotonic() > deadline and len(recoveries) >= len(first):
                break
            recoveries.append(await system.strike(name))
            await asyncio.sleep(rng.random())
    return recoveries


def _drawn(rng: random.Random) -> Iterator[str]:
    while True:
        yield rng.choice(sorted(FAULTS))


def table(recoveries: list[Recovery]) -> str:
    """How long each kind of fault took to be over, as a table of Markdown."""
    by_fault: dict[str, list[Recovery]] = defaultdict(list)
    for each in recoveries:
        by_fault[each.fault].append(each)
    lines = ["| fault | n | back after, s: median | most | `/livez` most, ms |", "|---|---|---|---|---|"]
    for name, of_fault in sorted(by_fault.items()):
        seconds = [each.seconds for each in of_fault]
        livez = max(each.livez_max_ms for each in of_fault)
        lines.append(f"| {name} | {len(of_fault)} | {median(seconds):.1f} | {max(seconds):.1f} | {livez:.0f} |")
    return "\n".join(lines)
