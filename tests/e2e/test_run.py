"""`python -m infra.local` from an empty folder: built, served, killed in parts, stopped without a trace."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from infra.local.ports import free_port

ROOT = Path(__file__).parents[2]
START_S = 400.0
SILENCERS = {"CI", "GITHUB_ACTIONS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "EVIDENTLY_DISABLE_TELEMETRY"}
pytestmark = pytest.mark.timeout(600)


def get(url: str, timeout_s: float = 35.0) -> Any:
    with urllib.request.urlopen(url, timeout=timeout_s) as response:
        return json.loads(response.read())


def eventually(check: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if check():
                return True
        except (urllib.error.URLError, OSError, StopIteration, psutil.NoSuchProcess):
            pass
        time.sleep(0.2)
    return False


@dataclass
class Running:
    """A started system."""

    home: Path
    app_port: int = field(default_factory=free_port)
    page_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[str] | None" = None
    answers: int = 0

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.app_port}"

    @property
    def addresses(self) -> Path:
        """Whom a process talked to outside this machine; absent when none did."""
        return self.home / "addresses.txt"

    @property
    def log(self) -> Path:
        return self.home / "terminal.log"

    def start(self) -> None:
        env = os.environ | {
            "TOUCHLINE_HOME": str(self.home),
            "APP_PORT": str(self.app_port),
            "DASHBOARD_PORT": str(self.page_port),
            "WORKER_METRICS_PORT": str(self.metrics_port),
            "PYTHONPATH": f"{ROOT / 'tests/support/record_addresses'}:{ROOT}",
            "RECORD_ADDRESSES": str(self.addresses),
        }
        # with these some libraries are silent of their own accord
        env = {name: value for name, value in env.items() if name not in SILENCERS}
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.local"], env=env, stdout=out, stderr=out, cwd=self.home, text=True
            )
        assert eventually(self.is_up, START_S), self.log.read_text()

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return "Ctrl-C stops everything" in self.log.read_text() and self.is_ready()

    def is_ready(self) -> bool:
        return not get(f"{self.api}/readyz")["degraded"]

    def stop(self) -> list[psutil.Process]:
        """Ask it to stop; the processes that are left."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        _gone, left = psutil.wait_procs(children, timeout=5)
        return left

    def child(self, pattern: str) -> psutil.Process:
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True)
        found = (p for p in family if re.search(pattern, " ".join(p.cmdline())))
        # a server's own children say what they are in another way, or have another parent
        return next(p for p in found if p.ppid() == self.process.pid)

    def predict(self, match_id: int) -> Any:
        """A live prediction; counted when it was answered."""
        answer = get(f"{self.api}/predict/{match_id}")
        self.answers += 1
        return answer

    def address(self, name: str) -> str:
        """Of a server that was started."""
        lines = (self.home / "run.env").read_text().splitlines()
        return next(shlex.split(line)[0].partition("=")[2] for line in lines if line.startswith(f"{name}="))

    def coming_match(self) -> int:
        return int(get(f"{self.api}/predict/cards/?status=upcoming&limit=1")["items"][0]["match_id"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    system = Running(tmp_path_factory.mktemp("home"))
    system.start()
    yield system
    if system.process is not None and system.process.poll() is None:
        system.stop()


def test_it_serves_simulated_matches_that_say_so(running: Running) -> None:
    cards = get(f"{running.api}/predict/cards/?status=upcoming&limit=5")
    assert cards["total"] > 20
    assert cards["snapshot"]["simulated"] is True
    with urllib.request.urlopen(f"http://127.0.0.1:{running.page_port}/", timeout=10) as page:
        assert page.status == 200


def test_the_live_answer_is_the_batch_answer(running: Running) -> None:
    match_id = running.coming_match()
    live = running.predict(match_id)
    batch = get(f"{running.api}/predict/precomputed/{match_id}")
    assert live["model"]["version"] == batch["model"]["version"]
    for outcome, probability in live["probabilities"].items():
        assert probability == pytest.approx(batch["probabilities"][outcome], abs=1e-6)


@pytest.mark.parametrize("victim", [r"-m app$", r"-m worker", r"valkey-server", r"postgres$|postgres -D"])
def test_what_is_killed_comes_back_with_all_it_had(running: Running, victim: str) -> None:
    match_id = running.coming_match()
    first = running.predict(match_id)
    killed = running.child(victim)
    killed.kill()
    assert eventually(lambda: running.child(victim).pid != killed.pid, 60)
    assert eventually(running.is_ready, 60)
    assert eventually(lambda: running.predict(match_id)["probabilities"] == first["probabilities"], 60)
    assert eventually(lambda: get(f"{running.api}/healthcheck/")["database"] == "connected", 60)
    assert get(f"{running.api}/monitoring/task_status/{first['task_id']}")["result"] is not None


def test_every_answer_is_in_the_ledger_once(running: Running) -> None:
    async def count() -> int:
        connection = await asyncpg.connect(running.address("DATABASE_URL"))
        try:
            return int(await connection.fetchval("SELECT count(*) FROM prediction_ledger"))
        finally:
            await connection.close()

    assert running.answers > 5
    assert eventually(lambda: asyncio.run(count()) >= running.answers, 10)
    assert asyncio.run(count()) == running.answers


def test_a_second_start_takes_seconds_and_nothing_is_left_after_the_stop(running: Running) -> None:
    assert running.stop() == []
    began = time.monotonic()
    running.start()
    took_s = time.monotonic() - began
    assert "building" not in running.log.read_text().rsplit("Touchline ", 1)[1]
    assert took_s < 60
    assert running.stop() == []


def test_no_process_talked_to_anybody_outside(running: Running, tmp_path: Path) -> None:
    """Build, API, workers and page, with every switch that silences telemetry taken out of their environment."""
    code = "import socket; s = socket.socket(); s.setblocking(False); s.connect_ex(('192.0.2.1', 9))"
    told = tmp_path / "told.txt"
    path = {"PYTHONPATH": str(ROOT / "tests/support/record_addresses"), "RECORD_ADDRESSES": str(told)}
    subprocess.run([sys.executable, "-c", code], env=os.environ | path, check=True)
    assert "192.0.2.1" in told.read_text()  # whoever does is written down
    assert running.answers > 5
    assert not running.addresses.exists(), running.addresses.read_text()


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        env = os.environ | {"TOUCHLINE_HOME": str(tmp_path), "APP_PORT": str(port), "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, "-m", "infra.local"], env=env, capture_output=True, text=True, check=False, timeout=60
        )
    assert ended.returncode == 1
    assert f"Port {port} is in use; stop what uses it or set APP_PORT to another." in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
