"""How fast queries at POST /sql are, and how much processor time each takes, beside the same query in this process.

One API process at its default settings; as many clients as queries may run at once. Beside: the same query over the
same copy of the snapshot, by a DuckDB that is open already, without HTTP and without the form of the answer.
"""

import argparse
import http.client
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import psutil
from rich.console import Console
from rich.table import Table

from app.settings import Settings
from app.store.database import open_sealed_connection
from infra.bench.servers import Servers
from infra.bench.synthetic import make_artifacts
from infra.local.ports import free_port

N_MATCHES = 100_000
N_FEATURES = 8
SECONDS = 8.0
CROWD = Settings.model_fields["sql_concurrency"].default
QUESTIONS = {
    "nothing": "SELECT 1",
    "an aggregate over cards": "SELECT region, count(*), avg(best_edge) FROM cards GROUP BY ALL",
    "1,000 whole cards": "SELECT * FROM cards LIMIT 1000",
}
_HEADERS = {"Content-Type": "application/json"}


class SqlBench:
    """The API over so many matches, and its processes for SQL."""

    def __init__(self, servers: Servers, home: Path) -> None:
        self._port = free_port()
        self._home = home
        env = {"APP_PORT": str(self._port), "ARTIFACTS_URI": str(home / "artifacts"), "SQL_ENABLED": "true"}
        self._api = psutil.Process(servers.start("api", "app", **env).pid)
        servers.wait_for(self._port, "/predict/facets/")
        # the copy of the snapshot is made on the first question
        while self._asked("SELECT 1") is None:
            sleep(0.1)

    def row(self, sql: str) -> list[str]:
        """Time at one client, answers a second and processor time an answer with several, and the time beside."""
        alone_ms = self._ask(sql)
        start, used_s = perf_counter(), self._used_s()
        with ThreadPoolExecutor(CROWD) as pool:
            crowd_ms = [took for seen in pool.map(self._ask, [sql] * CROWD) for took in seen]
        per_s = len(crowd_ms) / (perf_counter() - start)
        # what has ended is counted when whoever started it has noticed
        sleep(1)
        cpu_ms = 1000 * (self._used_s() - used_s) / len(crowd_ms)
        times = (median(alone_ms), max(alone_ms), median(crowd_ms))
        return [*(f"{time:,.1f}" for time in times), f"{per_s:,.1f}", f"{cpu_ms:,.0f}", f"{self._beside_ms(sql):,.1f}"]

    def _ask(self, sql: str) -> list[float]:
        took_ms, end = [], perf_counter() + SECONDS
        while perf_counter() < end:
            took = self._asked(sql)
            if took is None:
                raise RuntimeError(f"{sql}: not answered")
            took_ms.append(took)
        return took_ms

    def _asked(self, sql: str) -> float | None:
        """Milliseconds, None when it is refused."""
        start = perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("POST", "/sql", json.dumps({"sql": sql}), _HEADERS)
        response = connection.getresponse()
        response.read()
        connection.close()
        return 1000 * (perf_counter() - start) if response.status == 200 else None

    def _used_s(self) -> float:
        return sum(sum(process.cpu_times()[:4]) for process in (self._api, *self._api.children(recursive=True)))

    def _beside_ms(self, sql: str) -> float:
        (copy,) = self._home.glob("var/cache/sql/base-*/data.duckdb")
        connection = open_sealed_connection({"snapshot": copy})
        return median(_timed_ms(lambda: connection.sql(sql).fetchall()) for _ in range(20))


def _timed_ms(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return 1000 * (perf_counter() - start)


def main(arguments: Sequence[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench sql", description=__doc__)
    parser.add_argument("--matches", type=int, default=N_MATCHES)
    given = parser.parse_args(arguments)
    heads = ("query", "p50 ms", "max", f"p50 of {CROWD}", "per s", "CPU ms each", "beside ms")
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        home = Path(folder)
        make_artifacts(home / "artifacts", given.matches, N_FEATURES)
        servers = Servers(home, {"TOUCHLINE_HOME": str(home / "var"), "REDIS_URL": "redis://127.0.0.1:1/0"})
        try:
            bench = SqlBench(servers, home)
            table = Table(*heads)
            for name, sql in QUESTIONS.items():
                table.add_row(name, *bench.row(sql))
        finally:
            servers.stop()
    Console(width=130).print(table)
