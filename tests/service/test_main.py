"""The API as a process: `python -m app`."""

import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from infra.local.ports import free_port
from tests.support.build_keys import a_key, as_setting
from tests.support.serving import NO_REDIS
from tests.support.waiting import eventually

START_S = 120  # a new interpreter imports everything, on a machine that may be busy
pytestmark = pytest.mark.timeout(3 * START_S)


@contextmanager
def started(*, stderr: IO[str] | int = subprocess.PIPE, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A process of the API."""
    command = ["env", *(f"{name}={value}" for name, value in environ.items()), sys.executable, "-m", "app"]
    process = subprocess.Popen(command, stderr=stderr, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def failure(**environ: str) -> str:
    """What a process that cannot start says."""
    with started(**environ) as process:
        _, said = process.communicate(timeout=START_S)
        assert process.returncode == 1
        return said


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_port_in_use_is_one_clear_sentence(port: int, tmp_path: Path) -> None:
    said = failure(APP_PORT=str(port), TOUCHLINE_HOME=str(tmp_path), REDIS_URL=NO_REDIS, LOG_LEVEL="CRITICAL")
    assert said.strip() == f"Cannot listen on 127.0.0.1:{port}: Address already in use."


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_listening_beyond_this_machine_is_refused(host: str) -> None:
    said = failure(APP_HOST=host)
    assert said.startswith(f"Refusing to listen on {host}")
    assert "APP_ALLOW_PUBLIC" in said
    assert "Traceback" not in said


def test_wrong_setting_is_named() -> None:
    assert "APP_PORT" in failure(APP_PORT="many")


def test_stop_is_graceful_and_leaves_nothing(artifacts: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environ = {"APP_PORT": str(port), "TOUCHLINE_HOME": str(tmp_path), "ARTIFACTS_URI": str(artifacts)}
    with started(**environ, REDIS_URL=NO_REDIS, LOG_FORMAT="json") as process:
        wait_ready(f"http://127.0.0.1:{port}/readyz?need=reads")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=START_S)
    assert process.returncode == 0
    assert "Traceback" not in said
    assert '"event":"snapshot.opened"' in said
    assert list((tmp_path / "cache/snapshots").iterdir()) == []


def wait_ready(url: str) -> None:
    """Until the process answers with 200."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(url)


def test_listening_beyond_this_machine_with_keys_is_fine(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(as_setting(a_key()[1]))
    port = free_port()
    environ = {"APP_HOST": "0.0.0.0", "APP_PORT": str(port), "TOUCHLINE_HOME": str(tmp_path), "REDIS_URL": NO_REDIS}
    with started(**environ):
        wait_ready(f"http://127.0.0.1:{port}/livez")


def test_keys_that_cannot_be_read_are_one_clear_sentence() -> None:
    said = failure(API_KEYS='[{"prefix": "hunter2"}]')
    assert said.startswith("The API keys cannot be read: no list of API keys")
    assert "hunter2" not in said


def test_descriptors_that_run_out_are_one_line_and_pass(artifacts: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "api.log"
    environ = {"APP_PORT": str(port), "TOUCHLINE_HOME": str(tmp_path), "ARTIFACTS_URI": str(artifacts)}
    with log.open("w") as stderr, started(**environ, stderr=stderr, REDIS_URL=NO_REDIS, LOG_FORMAT="json") as process:
        wait_ready(f"http://127.0.0.1:{port}/readyz?need=reads")
        api = psutil.Process(process.pid)
        limits = resource.prlimit(api.pid, resource.RLIMIT_NOFILE)
        size_before = log.stat().st_size
        few = api.num_fds() + 10
        resource.prlimit(api.pid, resource.RLIMIT_NOFILE, (few, limits[1]))
        clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(60)]
        assert eventually(lambda: "connections.paused" in log.read_text(), START_S)
        time.sleep(2.5)  # while it lasts, each look for a client fails again, and each look at what the API needs
        said = log.read_text()[size_before:]
        assert said.count("connections.paused") == 1
        assert len(said) < 20_000, said[:5000]
        assert "Traceback" not in said, said[:6000]
        for client in clients:
            client.close()
        resource.prlimit(api.pid, resource.RLIMIT_NOFILE, limits)
        wait_ready(f"http://127.0.0.1:{port}/livez")
        wait_ready(f"http://127.0.0.1:{port}/predict/odds/")
