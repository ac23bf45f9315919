"""The peers that `scripts/bench read --peers` measures beside ours: each in an environment of its own, the same rows.

ROAPI holds the predictions of the artifacts as a table in memory; Datasette reads them from SQLite, by primary key.
Both answer with rows as JSON and know nothing of snapshots, tags or keys.
"""

import http.client
import signal
import sqlite3
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from subprocess import check_output, run
from time import perf_counter, sleep

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from app.artifacts.contract import PREDICTIONS
from infra.bench.clients import Seen
from infra.bench.servers import ROOT, Servers, awake, seen_by, send, worktree
from infra.bench.synthetic import FIRST_ID
from infra.local.children import Child, Command
from infra.local.ports import free_port

PAGE_ROWS = 200
SECONDS, ROUNDS, CROWD = 1.5, 3, 16
MAX_QUESTIONS = 40_000
SETTLE_S = 15.0


@dataclass(frozen=True, slots=True)
class ReadPaths:
    """Where a system answers the three questions: one match, a page by kick-off from a time on, all matches."""

    by_id: str
    page: str
    whole: str


OURS = ReadPaths("/predict/precomputed/{match}", "/predict/cards/?from={ago}", "/predict/predictions/")


@dataclass(frozen=True, slots=True)
class ReadSystem:
    """A running service and how it is asked; bare ones have a port for each question."""

    name: str
    ports: tuple[int, int, int]
    paths: ReadPaths
    children: tuple[Child, ...]


def make_environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """Return the folder of the programs of a new environment with these packages."""
    uv = check_output([ROOT / "scripts/setup", "uv"], text=True).strip()
    # uv does not read pip's configuration: a mirror set there holds for both, as in scripts/setup
    asked = run(
        ["python3", "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    index = ["--default-index", asked.stdout.strip()] if asked.stdout.strip() else []
    run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    run([uv, "pip", "install", "--quiet", *index, "--python", folder / "bin/python", *packages], check=True)
    return folder / "bin"


def _roapi(servers: Servers, artifacts: Path, port: int) -> tuple[Command, ReadPaths]:
    programs = make_environment(servers.home / "env-roapi", ("roapi==0.12.7",))
    table = f"predictions={artifacts / PREDICTIONS},format=parquet,use_memory_table=true"
    argv = [str(programs / "roapi"), "--addr-http", f"127.0.0.1:{port}", "--table", table]
    rows = "/api/tables/predictions"
    paths = ReadPaths(
        f"{rows}?filter%5Bmatch_id%5D={{match}}",
        f"{rows}?filter%5Bkickoff_utc%5Dgte='{{ago}}'&sort=kickoff_utc&limit={PAGE_ROWS}",
        rows,
    )
    return Command("roapi", argv, log=servers.home / "roapi.log", env={"RUST_LOG": "off"}), paths


def _datasette(servers: Servers, artifacts: Path, port: int) -> tuple[Command, ReadPaths]:
    programs = make_environment(servers.home / "env-datasette", ("datasette==0.65.5", "setuptools<81"))
    table = pq.read_table(artifacts / PREDICTIONS)
    database = servers.home / "predictions.db"
    fill_sqlite(database, table)
    limits = {"max_returned_rows": len(table) + 1, "sql_time_limit_ms": 60_000, "default_page_size": PAGE_ROWS}
    argv = [str(programs / "datasette"), "serve", "--immutable", str(database), "--port", str(port)]
    argv += [word for name, value in limits.items() for word in ("--setting", name, str(value))]
    rows, plain = "/predictions/predictions", "_shape=array&_nocount=1&_nofacet=1&_nosuggest=1"
    paths = ReadPaths(
        f"{rows}/{{match}}.json?_shape=objects",
        f"{rows}.json?{plain}&kickoff_utc__gte={{ago}}&_sort=kickoff_utc",
        f"{rows}.json?{plain}&_size=max",
    )
    return Command("datasette", argv, log=servers.home / "datasette.log"), paths


def fill_sqlite(path: Path, table: pa.Table) -> None:
    """Write the rows to a new SQLite file, by match id, with an index of kick-offs."""
    texts = table.set_column(
        table.schema.get_field_index("kickoff_utc"),
        "kickoff_utc",
        pc.strftime(table["kickoff_utc"].cast(pa.timestamp("s", "UTC")), format="%Y-%m-%dT%H:%M:%SZ"),
    ).drop_columns(["computed_at"])
    names = texts.column_names
    with sqlite3.connect(path) as database:
        columns = ", ".join(f"{name} INTEGER PRIMARY KEY" if name == "match_id" else name for name in names)
        database.execute(f"CREATE TABLE predictions ({columns})")
        database.executemany(
            f"INSERT INTO predictions VALUES ({', '.join('?' * len(names))})",  # noqa: S608  # marks alone
            zip(*(column.to_pylist() for column in texts.columns), strict=True),
        )
        database.execute("CREATE INDEX by_kickoff ON predictions (kickoff_utc)")
    database.close()


PEERS: Mapping[str, Callable[[Servers, Path, int], tuple[Command, ReadPaths]]] = {
    "roapi": _roapi,
    "datasette": _datasette,
}


@dataclass(frozen=True, slots=True)
class Company:
    """Who is measured beside ours: peers by name, and the code of an older commit."""

    peers: Sequence[str] = ()
    before: str | None = None


def measure_beside(console: Console, servers: Servers, artifacts: Path, n_matches: int, company: Company) -> None:
    """Print one match, a page and the whole list as each system answers them; the others sleep meanwhile."""
    with ExitStack() as stack:
        before = company.before
        code = [stack.enter_context(worktree(before))] if before else []
        systems = [_start_ours(servers, artifacts, "ours", {})]
        systems += [_start_ours(servers, artifacts, f"ours at {before}", env) for env in code]
        sleep(SETTLE_S)  # what follows the opening of a snapshot
        systems.append(_start_bare(servers, systems[0]))
        systems += [_start_peer(name, servers, artifacts) for name in company.peers]
        children = [child for system in systems for child in system.children]
        send(children, signal.SIGSTOP)
        try:
            _print_beside(console, servers.home, n_matches, systems)
        finally:
            send(children, signal.SIGCONT)


def _print_beside(console: Console, home: Path, n_matches: int, systems: Sequence[ReadSystem]) -> None:
    found: dict[str, list[list[float]]] = {system.name: [] for system in systems}
    for turn in range(ROUNDS):
        for system in systems:
            with awake(system.children):
                found[system.name].append(_figures(home, n_matches, system, turn))
    heads = ("one match p50 ms", "p99", "16 clients /s", "a page p50 ms", "16 clients /s", "all ms", "all gzip ms")
    table = Table(f"{n_matches:,} matches", *heads)
    best = (min, min, max, min, max, min, min)
    for name, rounds in found.items():
        figures = [choose(values) for choose, values in zip(best, zip(*rounds, strict=True), strict=True)]
        table.add_row(name, *(f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}" for figure in figures))
    console.print(table)


def _figures(home: Path, n_matches: int, system: ReadSystem, turn: int) -> list[float]:
    """What one system is like in one turn, in the order of the table."""
    draw = Random(turn)  # noqa: S311  # the same questions to each
    ids = draw.sample(range(FIRST_ID, FIRST_ID + n_matches), min(n_matches, MAX_QUESTIONS))
    days = [
        f"{1950 + day // 336}-{1 + day // 28 % 12:02d}-{1 + day % 28:02d}"
        for day in range(turn * 5000, 5000 + turn * 5000)
    ]
    questions = (
        (system.ports[0], [system.paths.by_id.format(match=match_id) for match_id in ids]),
        (system.ports[1], [system.paths.page.format(ago=f"{day}T00:00:00Z") for day in days]),
    )
    figures: list[float] = []
    for (port, paths), percentiles in zip(questions, (2, 1), strict=True):
        half = len(paths) // 2  # so that no question is asked twice
        one, many = _seen(home, port, 1, paths[:half]), _seen(home, port, CROWD, paths[half:])
        figures += [*[one.p50_ms, one.p99_ms][:percentiles], many.per_s]
    for coding in ("identity", "gzip"):
        _whole_ms(system, coding)  # what a system makes once is made
        figures.append(min(_whole_ms(system, coding) for _ in range(3)))
    return figures


def _seen(home: Path, port: int, clients: int, paths: Sequence[str]) -> Seen:
    file = home / "peer-paths"
    file.write_text("\n".join(paths), encoding="utf-8")
    seen = seen_by(port, clients, SECONDS, file)
    if seen.failed:
        raise RuntimeError(f"{paths[0]}: {seen.failed} answers were failures")
    return seen


def _whole_ms(system: ReadSystem, coding: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", system.ports[2], timeout=120)
    started = perf_counter()
    connection.request("GET", system.paths.whole, headers={"Accept-Encoding": coding})
    response = connection.getresponse()
    while response.read(2**20):
        pass
    took_ms = 1000 * (perf_counter() - started)
    connection.close()
    if response.status != HTTPStatus.OK:
        raise RuntimeError(f"{system.name}: {response.status}")
    return took_ms


def _start_ours(servers: Servers, artifacts: Path, name: str, code: Mapping[str, str]) -> ReadSystem:
    port = free_port()
    env = {"APP_PORT": str(port), "ARTIFACTS_URI": str(artifacts), "ARTIFACT_POLL_S": "3600"}
    child = servers.start(name.replace(" ", "-"), "app", **env, **code)
    servers.wait_for(port, "/predict/facets/")
    return ReadSystem(name, (port, port, port), OURS, (child,))


def _start_bare(servers: Servers, ours: ReadSystem) -> ReadSystem:
    """Three services that each send the bytes of one of our answers, kept in memory."""
    ports, children = [], []
    paths = (OURS.by_id.format(match=FIRST_ID), OURS.page.format(ago="1950-01-01T00:00:00Z"), OURS.whole)
    for number, path in enumerate(paths):
        with urllib.request.urlopen(f"http://127.0.0.1:{ours.ports[0]}{path}", timeout=120) as answer:
            (file := servers.home / f"bare-{number}").write_bytes(answer.read())
        ports.append(port := free_port())
        children.append(servers.start(f"bare-{number}", "infra.bench.read_servers", str(port), str(file)))
        servers.wait_for(port, "/")
    return ReadSystem("bare aiohttp, the same bytes", (ports[0], ports[1], ports[2]), OURS, tuple(children))


def _start_peer(name: str, servers: Servers, artifacts: Path) -> ReadSystem:
    port = free_port()
    command, paths = PEERS[name](servers, artifacts, port)
    child = Child(command)
    servers.children.append(child)
    servers.wait_for(port, paths.by_id.format(match=FIRST_ID))
    return ReadSystem(name, (port, port, port), paths, (child,))
