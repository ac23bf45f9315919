"""How many of our own functions, in how many files, an answer runs through: a short path can be read in one sitting.

The service, a worker and the clients run in this process, Redis beside it; `sys.setprofile` sees every call on every
thread. A round with a request alternates with one without that lasts as long; a function counts when the requests
make it run, so a heartbeat does not. A coroutine that goes on after a wait has run, too.
"""

import argparse
import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from types import CodeType, FrameType

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.table import Table

from app import appkeys
from app.main import create_app
from app.queue.redis import connect, disconnect
from app.server import listening
from app.settings import Settings
from app.telemetry.logging import set_up_logging
from infra.bench.live import train
from infra.bench.live_servers import FileSource
from infra.bench.synthetic import FIRST_ID, make_artifacts
from infra.local.children import Child
from infra.local.redis import Redis
from worker.main import make_worker

ROOT = Path(__file__).parents[2]
ROOMS = tuple(f"{ROOT / room}/" for room in ("app", "worker"))
N_MATCHES, N_FEATURES, N_TREES = 500, 8, 3  # how many there are does not change the path
ROUNDS = 21
SETTLE_S = 0.05  # what follows an answer, such as its row of the log, belongs to it


@dataclass(frozen=True, slots=True)
class Budget:
    """The most functions and files that one answer may run through."""

    functions: int
    files: int


@dataclass(frozen=True, slots=True)
class Hops:
    """The functions that one kind of answer runs through, as (file, name)."""

    name: str
    functions: tuple[tuple[str, str], ...]
    budget: Budget

    @property
    def files(self) -> tuple[str, ...]:
        """The files they stand in."""
        return tuple(sorted({file for file, _ in self.functions}))

    @property
    def is_within_budget(self) -> bool:
        """Whether the path is as short as promised."""
        return len(self.functions) <= self.budget.functions and len(self.files) <= self.budget.files


# name, the path of each round, whether it is asked once before, and the budget
CASES: tuple[tuple[str, Callable[[int], str], bool, Budget], ...] = (
    ("live prediction", lambda number: f"/predict/{FIRST_ID + number}", False, Budget(70, 16)),
    ("cold page of cards", lambda number: f"/predict/cards/?limit=24&min_edge=0.0{number:02d}", False, Budget(70, 14)),
    ("warm page of cards", lambda _: "/predict/cards/?limit=24", True, Budget(18, 8)),
)


class CallRecorder:
    """Records our own functions as they are called, on every thread that starts after it."""

    def __init__(self, rooms: tuple[str, ...] = ROOMS) -> None:
        self._rooms = rooms
        self._calls: Counter[CodeType] = Counter()

    def __enter__(self) -> "CallRecorder":
        threading.setprofile(self._record)
        sys.setprofile(self._record)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def start_round(self) -> None:
        """Forget what was called so far."""
        self._calls = Counter()

    def calls(self) -> Counter[tuple[str, str]]:
        """How often each function ran since then; a comprehension or a generator's body is part of its function."""
        return Counter(
            {
                (str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname): n
                for code, n in self._calls.copy().items()
                if not code.co_name.startswith("<") or code.co_name == "<lambda>"
            }
        )

    def _record(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(self._rooms):
            self._calls[frame.f_code] += 1


async def count_hops(settings: Settings, model: Path, recorder: CallRecorder) -> list[Hops]:
    """Serve with one worker, ask for every case, and count."""
    async with _service(settings, model) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        return [
            Hops(name, await _path_of_answer(session, recorder, path, is_warm=is_warm), budget)
            for name, path, is_warm, budget in CASES
        ]


async def _path_of_answer(
    session: aiohttp.ClientSession, recorder: CallRecorder, path: Callable[[int], str], *, is_warm: bool
) -> tuple[tuple[str, str], ...]:
    calls: Counter[tuple[str, str]] = Counter()
    if is_warm:
        await _get(session, path(0))
    for number in range(ROUNDS):
        recorder.start_round()
        started = perf_counter()
        await _get(session, path(number))
        await asyncio.sleep(SETTLE_S)
        calls.update(recorder.calls())
        recorder.start_round()
        await asyncio.sleep(perf_counter() - started)
        calls.subtract(recorder.calls())
    return tuple(sorted(function for function, n in calls.items() if n > ROUNDS / 2))


async def _get(session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(path) as response:
        await response.read()
        response.raise_for_status()


@asynccontextmanager
async def _service(settings: Settings, model: Path) -> AsyncIterator[int]:
    """The API on a port, and a worker whose model is loaded."""
    app = create_app(settings)
    redis = connect(settings)
    worker = make_worker(settings, redis, source=lambda _: FileSource(model))
    work = asyncio.create_task(worker.main())
    try:
        async with listening(app) as server:
            await worker.serving.wait()
            await _wait_until_open(app)
            yield server.sockets[0].getsockname()[1]
    finally:
        worker.drain()
        await work
        await worker.close()
        await disconnect(redis)


async def _wait_until_open(app: web.Application) -> None:
    await app[appkeys.SNAPSHOTS].refresh()
    async with app[appkeys.SNAPSHOTS].reading() as snapshot:
        await snapshot.features.wait(60)
    while not await app[appkeys.QUEUE].models():  # noqa: ASYNC110  # told by another task of this process
        await asyncio.sleep(SETTLE_S)


def measure(home: Path, redis: Redis) -> list[Hops]:
    """Count the hops of a service with its data under `home`."""
    model = home / "model.ubj"
    train(model, n_features=N_FEATURES, rounds=N_TREES)
    settings = Settings(
        app_port=0,
        artifacts_uri=str(make_artifacts(home / "artifacts", N_MATCHES, N_FEATURES)),
        touchline_home=home / "var",
        redis_url=redis.url,
        model_aliases=("champion",),
    )
    with (home / "service.log").open("w") as log, redirect_stderr(log), CallRecorder() as recorder:
        set_up_logging("INFO", "json")
        return asyncio.run(count_hops(settings, model, recorder))


def print_hops(console: Console, measured: Sequence[Hops], *, with_names: bool) -> None:
    """Print a table, and each function when asked for."""
    table = Table("answer", "functions", "budget", "files", "budget")
    for hops in measured:
        figures = (len(hops.functions), hops.budget.functions, len(hops.files), hops.budget.files)
        table.add_row(hops.name, *map(str, figures))
    console.print(table)
    for hops in measured if with_names else ():
        console.print(f"\n{hops.name}")
        for file, function in hops.functions:
            console.print(f"  {file}: {function}", highlight=False, soft_wrap=True)


def main(arguments: Sequence[str]) -> None:
    """Count with a Redis of our own; end with 1 when a path is longer than promised."""
    parser = argparse.ArgumentParser(prog="scripts/bench hops", description=__doc__)
    parser.add_argument("--names", action="store_true", help="print each function too")
    parser.add_argument("--check", action="store_true", help="fail when a path is longer than its budget")
    given = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        redis = Redis(Path(folder) / "redis")
        child = Child(redis.command())
        try:
            redis.wait_ready(child)
            measured = measure(Path(folder), redis)
        finally:
            child.stop()
    print_hops(Console(width=120), measured, with_names=given.names)
    if given.check and not all(hops.is_within_budget for hops in measured):
        sys.exit(1)
