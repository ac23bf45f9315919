"""How soon the API is ready, and how much memory it takes, over artifacts of several sizes with 508 features.

Cold: nothing is cached but the files themselves. Warm: the second start. Swap: new artifacts while it runs, when two
snapshots are open for a moment. Ends with an error when what README promises for a size is not kept.
"""

import argparse
import math
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from app.artifacts.manifest import MANIFEST, read_manifest
from infra.bench.synthetic import N_FEATURES, make_artifacts
from infra.local.children import Child, Command, LocalError
from infra.local.ports import free_port

SIZES = (3_000, 100_000, 1_000_000)
TIMEOUT_S = 300.0
# what README promises by number of matches
PEAK_BELOW_MB = {3_000: 500.0, 100_000: 1_000.0, 1_000_000: 3_500.0}
READY_WITHIN_S = {3_000: 3.0, 100_000: 3.0}
# what a page and an analyst ask first; the second is an answer of hundreds of megabytes at the largest size
PATHS = ("/predict/cards/?status=upcoming", "/predict/predictions/", "/predict/roi/")


@dataclass(frozen=True, slots=True)
class Start:
    """One start or swap: how long it took, and the memory of the process at most so far, in megabytes.

    `own_mb` is what the process holds for itself at the end; the rest are pages of files, which the kernel can take.
    """

    n_matches: int
    way: str
    took_s: float
    peak_mb: float
    own_mb: float

    def broken_promises(self) -> Iterator[str]:
        """What was promised for this size and not kept, a sentence each."""
        where = f"{self.way} with {self.n_matches:,} matches"
        within_s = READY_WITHIN_S.get(self.n_matches, math.inf)
        if self.took_s > within_s:
            yield f"{where}: ready after {self.took_s:.2f} s, not {within_s:g}"
        below_mb = PEAK_BELOW_MB.get(self.n_matches, math.inf)
        if self.peak_mb > below_mb:
            yield f"{where}: {self.peak_mb:,.0f} MB at the peak, not {below_mb:,.0f}"


class Api:
    """The API as a process over a folder of artifacts."""

    def __init__(self, artifacts: Path, home: Path) -> None:
        port = free_port()
        environ = {
            "APP_PORT": str(port),
            "TOUCHLINE_HOME": str(home),
            "ARTIFACTS_URI": str(artifacts),
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "LOG_LEVEL": "ERROR",
        }
        self._url = f"http://127.0.0.1:{port}"
        self._child = Child(Command("api", [sys.executable, "-m", "app"], log=home / "api.log", env=environ))

    def wait_ready(self) -> None:
        """Until it has a snapshot to answer from."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and self._child.exit_code is None:
            try:
                self.ask("/readyz?need=reads")
            except OSError:  # refused, or 503
                time.sleep(0.01)
            else:
                return
        raise LocalError(f"the API is not ready: {self._child.log_tail()}")

    def ask(self, path: str, method: str = "GET") -> None:
        """Ask and read the answer to its end."""
        request = urllib.request.Request(self._url + path, method=method)  # noqa: S310  # our own
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  # our own
            while answer.read(2**20):
                pass

    def memory_mb(self, what: str) -> float:
        """A figure of the kernel's about the process: VmHWM is the peak, RssAnon what no file stands behind."""
        status = Path(f"/proc/{self._child.pid}/status").read_text(encoding="utf-8")
        (found,) = [line.split()[1] for line in status.splitlines() if line.startswith(f"{what}:")]
        return int(found) / 1024

    def stop(self) -> None:
        """End it."""
        self._child.stop()


def measure(artifacts: Path, home: Path, n_matches: int) -> Iterator[Start]:
    """A cold start, a warm one, and a swap."""
    for way in ("cold", "warm"):
        begin = time.perf_counter()
        api = Api(artifacts, home)
        try:
            api.wait_ready()
            yield _used(api, n_matches, way, begin)
            if way == "warm":
                _publish_again(artifacts)
                begin = time.perf_counter()
                api.ask("/artifacts/refresh", "POST")
                yield _used(api, n_matches, "swap", begin)
            else:
                _wait_for_twin(home)
        finally:
            api.stop()


def _used(api: Api, n_matches: int, way: str, begin: float) -> Start:
    took_s = time.perf_counter() - begin
    for path in PATHS:
        api.ask(path)
    return Start(n_matches, way, took_s, api.memory_mb("VmHWM"), api.memory_mb("RssAnon"))


def _publish_again(artifacts: Path) -> None:
    """The same files under another manifest: a new version in every respect."""
    manifest = read_manifest(artifacts)
    part = artifacts / f"{MANIFEST}.part"
    part.write_text(manifest.model_copy(update={"seed": (manifest.seed or 0) + 1}).model_dump_json(), encoding="utf-8")
    part.replace(artifacts / MANIFEST)


def _wait_for_twin(home: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not list((home / "cache/features").glob("*.f32")) and time.monotonic() < deadline:
        time.sleep(0.1)


def main(arguments: Sequence[str]) -> None:
    """Measure every size and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench start", description=__doc__)
    parser.add_argument("--matches", type=int, nargs="*", default=SIZES, help="numbers of matches")
    parser.add_argument("--features", type=int, default=N_FEATURES)
    given = parser.parse_args(arguments)
    broken: list[str] = []
    table = Table("matches", "way", "ready after s", "peak MB", "own MB")
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        for n_matches in given.matches:
            artifacts, home = Path(folder) / "artifacts", Path(folder) / "home"
            make_artifacts(artifacts, n_matches, given.features)
            for start in measure(artifacts, home, n_matches):
                numbers = (f"{start.took_s:.2f}", f"{start.peak_mb:,.0f}", f"{start.own_mb:,.0f}")
                table.add_row(f"{n_matches:,}", start.way, *numbers)
                broken += start.broken_promises()
            for path in (artifacts, home):
                shutil.rmtree(path)
    Console().print(table)
    if broken:
        sys.exit("\n".join(broken))
