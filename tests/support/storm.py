"""A storm of swaps: new artifacts, good and broken, many times a second, under a process that answers all the while.

In every good set the season of each match and the bookmaker of each price are the number of the set, and so is the
number of matches: an answer that mixed two sets would show it.
"""

import asyncio
import csv
import hashlib
import io
import itertools
import json
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from app.api.responses import BULK_MEDIA
from app.artifacts.contract import FEATURES, MANIFEST, ODDS, PREDICTIONS
from infra.local.children import Child, Command
from tests.support.build_artifacts import stamp, write_artifacts
from tests.support.serving import NO_REDIS, until

FIRST_N = 40
PATHS = ("/predict/predictions/", "/predict/cards/?limit=500", "/predict/odds/", "/predict/facets/")
Row = dict[str, Any]


def numbered(name: str, value: str) -> Callable[[pa.Table], pa.Table]:
    """An edit that puts one value into every row of a column."""
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array([value] * len(table)))


def good_set(folder: Path, number: int) -> Path:
    """A sound set that shows its number in every row."""
    edit = {PREDICTIONS: numbered("season", str(number)), ODDS: numbered("bookmaker", str(number))}
    return write_artifacts(folder, n_matches=FIRST_N + number, odds_share=1.0, seed=number, edit=edit)


def cut_short(folder: Path) -> None:
    """Truncated before it was stamped."""
    os.truncate(folder / PREDICTIONS, 2000)
    stamp(folder)


def doubled(folder: Path) -> None:
    """A match has two rows."""
    table = pq.read_table(folder / FEATURES)
    pq.write_table(table.take([0, *range(len(table))]), folder / FEATURES)
    stamp(folder)


def with_a_file_gone(folder: Path) -> None:
    """Vouched for, and not there."""
    (folder / ODDS).unlink()


def with_nonsense_for_a_manifest(folder: Path) -> None:
    """No JSON."""
    (folder / MANIFEST).write_text("{")


BREAKS = (cut_short, doubled, with_a_file_gone, with_nonsense_for_a_manifest)


def make_sets(folder: Path, n_good: int) -> list[Path]:
    """Sound sets with a broken one after every second of them."""
    breaks = itertools.cycle(BREAKS)
    sets = []
    for number in range(n_good):
        sets.append(good_set(folder / f"good-{number}", number))
        if number % 2:
            broken = good_set(folder / f"broken-{number}", number)
            next(breaks)(broken)
            sets.append(broken)
    return sets


def publish(files: Path, target: Path, seed: int) -> None:
    """As the pipeline does, the manifest last; `seed` makes every publication a version of its own."""
    names = [path.relative_to(files) for path in sorted(files.rglob("*")) if path.is_file()]
    for name in sorted(names, key=lambda name: name.name == MANIFEST):
        part = target / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files / name, part)
        if name.name == MANIFEST:
            part.write_text(part.read_text().replace('"seed": ', f'"seed": {seed + 1}'))
        part.replace(target / name)


@dataclass
class Seen:
    """What the answers said; `sets` is the number of the set behind each snapshot."""

    n_answers: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    sets: dict[str, int] = field(default_factory=dict)
    forms: Counter[str] = field(default_factory=Counter)
    bodies: dict[tuple[str, str], str] = field(default_factory=dict)

    def note(self, path: str, response: aiohttp.ClientResponse, body: bytes) -> None:
        """Hold an answer against all others."""
        self.n_answers += 1
        self.statuses[response.status] += 1
        assert response.status in {200, 304}, body
        if response.status == 304:
            return
        snapshot, tag = response.headers["Touchline-Snapshot"], response.headers["ETag"]
        self.forms[response.content_type] += 1
        numbers = set(_numbers(path, _rows(response.content_type, body)))
        assert len(numbers) == 1, f"{path}: {numbers} in one answer"
        assert self.sets.setdefault(snapshot, *numbers) in numbers, f"{path}: {numbers} under {snapshot}"
        digest = hashlib.sha256(body).hexdigest()
        assert self.bodies.setdefault((path, tag), digest) == digest, f"{path}: two answers under {tag}"


def _numbers(path: str, rows: list[Row]) -> Iterator[int]:
    """The numbers of the sets that an answer shows."""
    if "facets" in path:
        yield sum(int(row["n"]) for row in rows) - FIRST_N
        return
    yield len(rows) - FIRST_N
    for row in rows:
        yield from (int(row[name]) for name in ("season", "bookmaker") if row.get(name))


def _rows(media: str, body: bytes) -> list[Row]:
    """What an answer says, whatever its form."""
    match media:
        case "application/json":
            return [_flat(item) for item in json.loads(body)["items"]]
        case "application/x-ndjson":
            return [_flat(json.loads(line)) for line in body.splitlines()]
        case "text/csv":
            return list(csv.DictReader(io.StringIO(body.decode())))
        case "application/vnd.apache.arrow.stream":
            return pa.ipc.open_stream(body).read_all().to_pylist()
        case "application/vnd.apache.parquet":
            return pq.read_table(pa.BufferReader(body)).to_pylist()
    raise ValueError(media)


def _flat(item: Row) -> Row:
    return {**item, **(item.get("money") or {})}


@dataclass(frozen=True)
class Use:
    """What a process uses."""

    fds: int
    threads: int
    rss_mb: float

    @classmethod
    def of(cls, process: psutil.Process) -> "Use":
        """As it is now."""
        return cls(process.num_fds(), process.num_threads(), process.memory_info().rss / 2**20)


class Storm:
    """A process of the API over a folder that changes all the time."""

    def __init__(self, url: str, child: Child, target: Path, home: Path) -> None:
        self.url = url
        self.process = psutil.Process(child.pid)
        self.seen = Seen()
        self.uses: list[Use] = []
        self.n_published = 0
        self._target = target
        self._home = home
        self._over = asyncio.Event()

    async def blow(self, sets: list[Path], *, seconds: float, clients: int = 6, every_s: float = 0.2) -> None:
        """Publish and ask for so long."""
        self._over.clear()
        publisher = asyncio.create_task(self._publish(sets, every_s))
        askers = [asyncio.create_task(self._ask(number)) for number in range(clients)]
        sampler = asyncio.create_task(self._sample())
        done, _ = await asyncio.wait([publisher, *askers, sampler], timeout=seconds, return_when="FIRST_EXCEPTION")
        self._over.set()
        await asyncio.gather(publisher, *askers, sampler)
        assert not done

    async def settle(self) -> Use:
        """What the process uses once nothing happens any more: one snapshot, and no connection of ours."""

        async def is_quiet() -> bool:
            folders = await asyncio.to_thread(lambda: list((self._home / "cache/snapshots").glob("*/*/")))
            return len(folders) == 1

        await until(is_quiet, timeout_s=60)
        return await asyncio.to_thread(Use.of, self.process)

    async def _publish(self, sets: list[Path], every_s: float) -> None:
        for files in itertools.cycle(sets):
            if self._over.is_set():
                break
            self.n_published += 1
            await asyncio.to_thread(publish, files, self._target, self.n_published)
            await asyncio.sleep(every_s)

    async def _ask(self, number: int) -> None:
        tags: dict[str, str] = {}
        asked = itertools.cycle(itertools.product(PATHS, BULK_MEDIA))
        async with aiohttp.ClientSession(self.url) as session:
            for path, form in itertools.islice(asked, number, None):
                if self._over.is_set():
                    break
                headers = {"Accept": form, "If-None-Match": tags.get(path + form, '"none"')}
                async with session.get(path, headers=headers) as response:
                    self.seen.note(path, response, await response.read())
                    tags[path + form] = response.headers["ETag"]
                if number == 0:
                    async with session.post("/artifacts/refresh") as response:
                        assert response.status == 200

    async def _sample(self) -> None:
        while not self._over.is_set():
            self.uses.append(await asyncio.to_thread(Use.of, self.process))
            await asyncio.sleep(0.25)


@asynccontextmanager
async def storm(folder: Path, first: Path) -> AsyncIterator[Storm]:
    """A process that has opened the first set."""
    target, home = folder / "target", folder / "home"
    await asyncio.to_thread(publish, first, target, 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environ = {
        "APP_PORT": str(port),
        "TOUCHLINE_HOME": str(home),
        "ARTIFACTS_URI": str(target),
        "ARTIFACT_POLL_S": "0.1",
        "REDIS_URL": NO_REDIS,
        "LOG_FORMAT": "json",
    }
    command = Command("api", [sys.executable, "-m", "app"], log=folder / "api.log", env=environ)
    child = await asyncio.to_thread(Child, command)
    try:
        url = f"http://127.0.0.1:{port}"
        await until(lambda: _is_ready(url), timeout_s=60)
        yield Storm(url, child, target, home)
    finally:
        await asyncio.to_thread(child.stop)


async def _is_ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz?need=reads") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
