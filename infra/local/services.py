"""The services of one machine: how each is started and when it is ready."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infra.local.children import Child, Command, LocalError
from infra.local.home import Home
from infra.local.postgres import Postgres
from infra.local.redis import Redis

START_TIMEOUT_S = 600.0  # a deadline for a hang; a process that ends is noticed at once


@dataclass(frozen=True, slots=True)
class Service:
    """`make` gives the command afresh for each start; `wait` blocks until the child is ready."""

    name: str
    make: Callable[[], Command]
    wait: Callable[[Child], None]
    address: str = ""


def redis_service(redis: Redis) -> Service:
    """The queue."""
    return Service("Redis", redis.command, redis.wait_ready, f"127.0.0.1:{redis.port}")


def postgres_service(postgres: Postgres) -> Service:
    """The prediction ledger."""
    return Service("PostgreSQL", postgres.command, postgres.wait_ready, f"127.0.0.1:{postgres.port}")


def python_service(name: str, module: str, home: Home, env: Mapping[str, str], ready_url: str = "") -> Service:
    """One of our own processes, ready when `ready_url` answers 200 (at once without one)."""
    command = Command(name, [sys.executable, "-m", module], log=home.logs / f"{module}.log", env=env)

    def wait(child: Child) -> None:
        if ready_url:
            wait_for_url(ready_url, child)

    return Service(name, lambda: command, wait, ready_url.rsplit("/", 1)[0])


def wait_for_url(url: str, child: Child) -> None:
    """Block until the address answers 200."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(url):
        if child.exit_code is not None:
            raise LocalError(f"{child.command.name} stopped: {child.log_tail(3)}")
        if time.monotonic() > deadline:
            raise LocalError(f"{child.command.name} is not ready after {START_TIMEOUT_S:.0f} s: {child.log_tail(3)}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:  # noqa: S310  our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def unready_parts(base_url: str) -> str:
    """Which parts are not well, in words; empty when all are."""
    try:
        parts = json.loads(_answer(f"{base_url}/readyz"))["parts"]
    except (urllib.error.URLError, OSError, ValueError) as error:
        return str(error)
    return ", ".join(f"{part['name']}: {part['detail']}" for part in parts if not part["ok"])


def _answer(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:  # noqa: S310  our own loopback address
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:  # readiness says 503 and why
            return error.read()
