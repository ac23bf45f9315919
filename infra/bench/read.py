"""How fast reads are over HTTP, cold and warm, beside pandas in memory and a bare aiohttp answer of the same bytes.

Cold: no two questions are alike, so every answer is queried, rendered and, where asked for, compressed; the best of
three rounds through all questions, as others slow a shared machine by half for minutes. Warm: the same question again.
Known: the same with its entity tag, a 304. One API process; clients and floor have their own.
"""

import argparse
import http.client
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil
from rich.console import Console
from rich.table import Table

from app.store.formats import Format
from infra.bench.clients import Seen
from infra.bench.read_pandas import times_ms
from infra.bench.read_peers import PEERS, Company, measure_beside
from infra.bench.servers import Servers, seen_by
from infra.bench.synthetic import FIRST_ID, make_artifacts
from infra.local.children import Child
from infra.local.ports import free_port

SIZES = (3_000, 100_000, 1_000_000)
N_FEATURES = 8  # reads look at none
SECONDS = 1.0
CROWD = 16
ROUNDS = 3
_MANY = 900  # more than can be answered cold in the time; in all rounds no more than there are matches
_LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
_ENV = {"LOG_FORMAT": "json", "REDIS_URL": "redis://127.0.0.1:1/0"}
_CARDS = "/predict/cards/?from={ago}"
_FORMS = {form.name.lower(): f"Accept: {form.value}" for form in Format}


@dataclass(frozen=True, slots=True)
class Case:
    """One question: its path, with a place for what makes it unlike any other and leaves its work the same."""

    name: str
    path: str
    header: str = _FORMS["json"]

    def warm(self) -> str:
        """The question as the clients read it."""
        return "\t".join([self.path.format(ago=_ago(0), match=FIRST_ID), self.header])

    def cold(self, turn: int) -> Iterator[str]:
        """The same question in many ways that nobody asked before, others each turn."""
        for number in range(1 + turn * _MANY, (turn + 1) * _MANY):
            yield "\t".join([self.path.format(ago=_ago(number), match=FIRST_ID + number), self.header])


def _ago(seconds: int) -> str:
    return (_LONG_AGO + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


CASES = (
    Case("all, by kick-off", _CARDS),
    Case("upcoming", _CARDS + "&status=upcoming"),
    *(
        Case(f"upcoming, {name}", _CARDS + "&status=upcoming", header)
        for name, header in _FORMS.items()
        if name != "json"
    ),
    Case("upcoming, json zstd", _CARDS + "&status=upcoming&limit=199", "Accept-Encoding: zstd"),
    Case("all, best edge first", _CARDS + "&sort=-edge"),
    Case("two regions, edge >= 5 %", _CARDS + "&region=Region%2003&region=Region%2007&min_edge=0.05"),
    Case("twenty regions", _CARDS + "".join(f"&region=Region%20{number:02d}" for number in range(20))),
    Case("text", _CARDS + "&q=club%200123"),
    Case("text, best edge first", _CARDS + "&q=club%200123&sort=-edge"),
    Case("text of a twentieth", _CARDS + "&q=club%2001"),
    Case("facets", "/predict/facets/?from={ago}"),
    Case("roi of a region", "/predict/roi/?from={ago}&region=Region%2003"),
    Case("one match", "/predict/precomputed/{match}"),
)


class ReadBench:
    """The API over artifacts of one size."""

    def __init__(self, servers: Servers, artifacts: Path) -> None:
        self._servers = servers
        self._port = free_port()
        env = {"APP_PORT": str(self._port), "ARTIFACTS_URI": str(artifacts), "ARTIFACT_POLL_S": "3600"}
        started = perf_counter()
        self._api = servers.start("api", "app", **env)
        servers.wait_for(self._port, "/predict/facets/")
        self.ready_s = perf_counter() - started

    def rss_mb(self) -> float:
        """Memory of the API process, megabytes."""
        return float(psutil.Process(self._api.pid).memory_info().rss) / 2**20

    def cold(self) -> dict[str, Seen]:
        """What one client sees of each question that is new, in the round that was best for it."""
        rounds = [{case.name: self._ask(case.cold(turn), 1) for case in CASES} for turn in range(ROUNDS)]
        return {case.name: min((seen[case.name] for seen in rounds), key=lambda seen: seen.p50_ms) for case in CASES}

    def row(self, case: Case, cold: Seen) -> list[str]:
        """Cold, warm and known figures of one question, and the floor under the warm ones."""
        body, tag = self._fetch(case.warm())
        warm, crowd = self._ask([case.warm()], 1), self._ask([case.warm()], CROWD)
        known = self._ask([f"{case.warm()}\tIf-None-Match: {tag}"], CROWD)
        floor = self._floor(body)
        times = [cold.p50_ms, cold.p99_ms, warm.p50_ms, warm.p99_ms]
        rates = [crowd.per_s, known.per_s, floor]
        failed = sum(seen.failed for seen in (cold, warm, crowd, known))
        if failed:
            raise RuntimeError(f"{case.name}: {failed} answers were failures")
        kilobytes = f"{len(body) / 1000:,.0f}"
        return [case.name, kilobytes, *(f"{time:.2f}" for time in times), *(f"{rate:,.0f}" for rate in rates)]

    def streamed(self, form: str) -> list[str]:
        """All predictions read to the end: seconds, megabytes, and what the API's memory has come to."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        start = perf_counter()
        name, value = _FORMS[form].split(": ")
        connection.request("GET", "/predict/predictions/", headers={name: value})
        response = connection.getresponse()
        size = 0
        while piece := response.read(2**20):
            size += len(piece)
        took_s = perf_counter() - start
        connection.close()
        return [form, f"{size / 1e6:,.1f}", f"{took_s:.2f}", f"{size / 1e6 / took_s:,.0f}", f"{self.rss_mb():,.0f}"]

    def _ask(self, lines: Iterable[str], clients: int, port: int | None = None) -> Seen:
        file = self._servers.home / "paths"
        file.write_text("\n".join(lines), encoding="utf-8")
        return seen_by(port or self._port, clients, SECONDS, file)

    def _fetch(self, line: str) -> tuple[bytes, str]:
        path, *headers = line.split("\t")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("GET", path, headers=dict(header.split(": ", 1) for header in headers))
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return body, response.headers["ETag"]

    def _floor(self, body: bytes) -> float:
        """Answers a second of a service that has nothing else to do."""
        file, port = self._servers.home / "body", free_port()
        file.write_bytes(body)
        child = self._servers.start("bare", "infra.bench.read_servers", str(port), str(file))
        self._servers.wait_for(port, "/")
        try:
            return self._ask(["/"], CROWD, port).per_s
        finally:
            _end(self._servers, child)


def _end(servers: Servers, child: Child) -> None:
    servers.children.remove(child)
    child.stop()


def measure(console: Console, home: Path, n_matches: int, company: Company) -> None:
    """Measure one size and print its tables; beside peers or an older commit only what they answer too."""
    artifacts = make_artifacts(home / "artifacts", n_matches, N_FEATURES)
    if company.peers or company.before:
        servers = Servers(home, _ENV | {"TOUCHLINE_HOME": str(home / "var")})
        try:
            measure_beside(console, servers, artifacts, n_matches, company)
        finally:
            servers.stop()
        return
    pandas_ms = times_ms(artifacts)
    servers = Servers(home, _ENV | {"TOUCHLINE_HOME": str(home / "var")})
    try:
        bench = ReadBench(servers, artifacts)
        console.print(f"{n_matches:,} matches: ready in {bench.ready_s:.1f} s, {bench.rss_mb():,.0f} MB")
        _print_cases(console, bench, pandas_ms)
        streams = Table("all predictions", "MB", "s", "MB/s", "API MB")
        for form in _FORMS:
            streams.add_row(*bench.streamed(form))
        console.print(streams)
    finally:
        servers.stop()


def _print_cases(console: Console, bench: ReadBench, pandas_ms: dict[str, float]) -> None:
    heads = ("question", "kB", "cold p50 ms", "p99", "warm p50 ms", "p99", "warm /s", "304 /s", "floor /s", "pandas ms")
    table = Table(*heads)
    cold = bench.cold()
    for case in CASES:
        beside = pandas_ms.get(case.name)
        table.add_row(*bench.row(case, cold[case.name]), "" if beside is None else f"{beside:.2f}")
    console.print(table)


def main(arguments: Sequence[str]) -> None:
    """Measure each size in turn."""
    parser = argparse.ArgumentParser(prog="scripts/bench read", description=__doc__)
    parser.add_argument("--matches", type=int, nargs="+", default=SIZES, help="how many; several are measured in turn")
    parser.add_argument("--peers", default="", help=f"measure beside these, separated by commas: {', '.join(PEERS)}")
    parser.add_argument("--before", metavar="COMMIT", help="measure beside the code of this commit")
    given = parser.parse_args(arguments)
    peers = [name for name in given.peers.split(",") if name]
    if unknown := sorted(set(peers) - set(PEERS)):
        parser.error(f"no such peer: {', '.join(unknown)}")
    console = Console(width=130)
    for n_matches in given.matches:
        with TemporaryDirectory(prefix="touchline-bench-") as folder:
            measure(console, Path(folder), n_matches, Company(peers, given.before))
