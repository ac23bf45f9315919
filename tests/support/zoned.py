"""An API process on a machine of another time zone."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.ports import free_port
from tests.support.serving import NO_REDIS


@contextmanager
def serve_in_zone(zone: str, folder: Path, home: Path) -> Iterator[str]:
    """Serve these artifacts from a process under that TZ; yield its address."""
    port = free_port()
    environ = {
        "TZ": zone,
        "APP_PORT": str(port),
        "ARTIFACTS_URI": str(folder),
        "TOUCHLINE_HOME": str(home),
        "REDIS_URL": NO_REDIS,
        "SQL_ENABLED": "true",
        "LOG_LEVEL": "CRITICAL",
    }
    process = subprocess.Popen([sys.executable, "-m", "app"], env=dict(os.environ) | environ)  # noqa: TID251
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_ready(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def get(address: str, path: str, body: bytes | None = None, *, accept: str = "*/*") -> bytes:
    """Read an answer, of POST where there is a body."""
    request = urllib.request.Request(address + path, body, {"Content-Type": "application/json", "Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


def _wait_ready(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 300  # a hang, not a slow machine
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            get(address, "/predict/odds/")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the API does not answer")
