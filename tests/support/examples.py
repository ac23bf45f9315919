"""The examples of the documentation: fenced `sh` and `python` blocks, and the service that they run against.

A comment before a block says how it runs: `<!-- example: not run; REASON -->`, `<!-- example: endless; REASON -->` (it
is read for some seconds), `<!-- example: fails; REASON -->` (an answer that is a problem). Without one it must succeed.
"""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.artifacts.contract import PREDICTIONS
from infra.local.ports import free_port
from tests.support.build_artifacts import write_artifacts
from tests.support.models import FEATURES, NAME, TinyRegistry, tiny_booster
from tests.support.waiting import eventually
from worker.inference import predict_proba

ROOT = Path(__file__).parents[2]
# keys last: once there is one, the service asks everybody for one
PAGES = sorted(
    [ROOT / "README.md", *(path for path in (ROOT / "infra" / "docs").rglob("*.md") if path.parent.name != "changes")],
    key=lambda path: (path.name == "keys.md", path),
)
START_S = 600.0  # a deadline for a hang: three processes import all they need, on a machine that is busy
EXAMPLE_S = 300.0
_BLOCK = re.compile(
    r"(?:<!-- example: (?P<kind>not run|endless|fails); (?P<reason>[^>]*) -->\n)?"
    r"```(?P<language>sh|python)\n(?P<text>.*?)```",
    re.DOTALL,
)
# the simulated world's names, which the examples ask for
_REGIONS = {"England": "Cassia", "Scotland": "Avaland", "Italy": "Norrmark"}
_CURL = 'curl() { command curl --fail-with-body --silent --show-error --max-time %d "$@"; }\n'
TIMED_OUT, HTTP_ERROR = 28, 22  # exit codes of curl


@dataclass(frozen=True, slots=True)
class Example:
    """One block: where it stands, how it runs, and what it says."""

    name: str
    language: str
    kind: str
    reason: str
    text: str


def find_examples(page: Path) -> list[Example]:
    """Return the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Example(
            f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}",
            match["language"],
            match["kind"] or "runs",
            match["reason"] or "",
            match["text"],
        )
        for match in _BLOCK.finditer(text)
    ]


@dataclass(frozen=True, slots=True)
class DocumentedService:
    """A service that `scripts/run` has started, and the environment of a person beside it."""

    home: Path
    environment: Mapping[str, str]
    addresses: Mapping[str, str]  # those of the documentation -> those of this run

    def run(self, example: Example, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run an example as a person would, in a folder of its own."""
        text = example.text
        for documented, real in self.addresses.items():
            text = text.replace(documented, real)
        text = re.sub(r"(?<![\w/.])scripts/", f"{ROOT}/scripts/", text)
        text = re.sub(r"(?<![\w/.])var/", f"{self.home}/", text)
        if example.language == "sh":
            text = "set -euo pipefail\n" + _CURL % (3 if example.kind == "endless" else 240) + text
        command = ["bash", "-c", text] if example.language == "sh" else [sys.executable, "-c", text]
        return subprocess.run(
            command,
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=EXAMPLE_S,
            check=False,
        )


@contextmanager
def start_documented_service(folder: Path) -> Iterator[DocumentedService]:
    """Start `scripts/run` over small artifacts and a registry that are there already."""
    registry = TinyRegistry(folder).prepare()
    booster = tiny_booster()
    registry.add_booster(booster, alias="champion")
    registry.add_booster(tiny_booster(seed=2), alias="candidate")
    artifacts = write_artifacts(
        folder / "artifacts",
        n_matches=240,
        feature_names=FEATURES,
        predict=lambda rows: predict_proba(booster, rows),
        with_history=True,
        edit={PREDICTIONS: _with_simulated_regions},
    )
    ports = {name: str(free_port()) for name in ("APP_PORT", "DASHBOARD_PORT", "WORKER_METRICS_PORT")}
    environment = (
        os.environ
        | ports
        | {
            "TOUCHLINE_HOME": str(folder / "home"),
            "TOUCHLINE_PYTHON": sys.executable,
            "ARTIFACTS_URI": str(artifacts),
            "MLFLOW_TRACKING_URI": registry.uri,
            "MODEL_NAME": NAME,
            "SQL_ENABLED": "true",
            "PYTHONPATH": str(ROOT),
        }
    )
    api = f"http://127.0.0.1:{ports['APP_PORT']}"
    addresses = {
        "http://127.0.0.1:8000": api,
        "http://127.0.0.1:8001": f"http://127.0.0.1:{ports['WORKER_METRICS_PORT']}",
        "http://127.0.0.1:5006": f"http://127.0.0.1:{ports['DASHBOARD_PORT']}",
    }
    log = folder / "terminal.log"
    with log.open("w") as out:
        process = subprocess.Popen([ROOT / "scripts" / "run"], env=environment, stdout=out, stderr=out, cwd=folder)
    try:
        started = eventually(lambda: process.poll() is not None or "Ctrl-C stops" in log.read_text(), START_S)
        assert started, log.read_text()
        assert process.poll() is None, log.read_text()
        assert eventually(lambda: _is_ready(api), START_S), log.read_text()
        yield DocumentedService(folder / "home", environment, addresses)
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(api: str) -> bool:
    """Whether reads and live predictions work; a worker may load its models for longer than scripts/run waits."""
    try:
        with urllib.request.urlopen(f"{api}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _with_simulated_regions(table):  # type: ignore[no-untyped-def]  # pyarrow's tables, which the builder passes on
    column = [_REGIONS[name] for name in table["region"].to_pylist()]
    return table.set_column(table.schema.get_field_index("region"), "region", [column])
