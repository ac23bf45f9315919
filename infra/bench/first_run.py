"""How long a stranger waits: `scripts/run` in a clean clone with an empty HOME, and once more where all is installed.

Both are timed from the call to the first cards over HTTP with the page up, and to the first live prediction. The
network is that of this machine, and its caches may be warm; the load of the machine is told beside the times.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.local.ports import free_port

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 1800.0
# what a person's shell gives to a program, and what a machine needs to reach a package index; nothing of ours
_KEPT = ("PATH", "LANG", "TERM", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_KEPT_PREFIXES = ("PIP_", "UV_", "HTTP_", "HTTPS_", "NO_", "http_", "https_", "no_")


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from the call of `scripts/run`."""

    way: str
    page_s: float
    live_s: float


def measure(clone: Path, home: Path, way: str, options: Sequence[str]) -> Waits:
    """Start, wait for cards, page and a live prediction, and stop."""
    ports = {name: free_port() for name in ("APP_PORT", "DASHBOARD_PORT")}
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    env = kept | {name: str(port) for name, port in ports.items()} | {"HOME": str(home), "WORKER_METRICS_PORT": "0"}
    api, page = (f"http://127.0.0.1:{port}" for port in ports.values())
    begin = time.monotonic()
    with (home / f"{way}.log").open("wb") as out:
        process = subprocess.Popen(
            ["bash", str(clone / "scripts/run"), *options], env=env, stdout=out, stderr=out, cwd=home
        )
    try:
        cards: Any = _wait_for(process, f"{api}/predict/cards/?status=upcoming&limit=1", begin)
        _wait_for(process, page, begin)
        page_s = time.monotonic() - begin
        _wait_for(process, f"{api}/readyz", begin)
        _wait_for(process, f"{api}/predict/{json.loads(cards)['items'][0]['match_id']}", begin)
        live_s = time.monotonic() - begin
    except TimeoutError as error:
        sys.exit(f"{error}:\n{(home / f'{way}.log').read_text(errors='replace')[-3000:]}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    return Waits(way, page_s, live_s)


def _wait_for(process: "subprocess.Popen[bytes]", url: str, begin: float) -> bytes:
    while time.monotonic() - begin < TIMEOUT_S and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=40.0) as answer:  # noqa: S310  # our own loopback address
                return bytes(answer.read())
        except OSError:  # refused, or 503 while there is nothing to show yet
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer (exit code {process.poll()})")


def main(arguments: Sequence[str]) -> None:
    """Measure a first and a second start and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench first-run", description=__doc__)
    parser.add_argument("--repository", default=str(ROOT), help="what is cloned (default: this one, as committed)")
    parser.add_argument("options", nargs="*", help="passed on to scripts/run")
    given = parser.parse_args(arguments)
    table = Table("start", "page with matches after s", "live predictions after s", "load before")
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", given.repository, str(clone)], check=True)
        for way in ("first", "second"):
            load = os.getloadavg()[0]
            waits = measure(clone, home, way, given.options)
            table.add_row(way, f"{waits.page_s:.1f}", f"{waits.live_s:.1f}", f"{load:.1f}")
    Console().print(table)
