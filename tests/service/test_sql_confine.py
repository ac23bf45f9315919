"""What the process of a query cannot do even if DuckDB let it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.sql.forkserver_client import ForkServer, ForkServerKeeper
from tests.support.serving import until
from tests.support.waiting import eventually, is_alive

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)  # new interpreters, on a machine that may be busy


def confined(code: str, *argv: str) -> str:
    """What a confined Python says to that code."""
    imports = "import os, sys, socket, subprocess\nfrom app.sql.sandbox import enter_sandbox, limit_resources"
    program = f"{imports}\nenter_sandbox()\n{code}"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, *argv],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_new_files_cannot_be_written(tmp_path: Path) -> None:
    said = confined("open(sys.argv[1], 'w').write('x')", str(tmp_path / "x"))
    assert "Permission denied" in said or "File too large" in said
    assert not (tmp_path / "x").exists() or (tmp_path / "x").read_text() == ""


@pytest.mark.parametrize("mode", ["r+", "w", "a"])
def test_files_that_may_only_be_read_stay_as_they_are(tmp_path: Path, mode: str) -> None:
    """Not even root may write to them, as its capabilities are gone."""
    path = tmp_path / "data"
    path.write_text("whole")
    path.chmod(0o444)
    assert "Permission denied" in confined(f"open(sys.argv[1], {mode!r}).write('x')", str(path))
    assert path.read_text() == "whole"


def test_nothing_of_a_sealed_folder_can_be_removed_or_renamed(tmp_path: Path) -> None:
    path = tmp_path / "sealed/data"
    path.parent.mkdir()
    path.write_text("whole")
    path.parent.chmod(0o555)
    assert "Permission denied" in confined("os.remove(sys.argv[1])", str(path))
    assert "Permission denied" in confined("os.rename(sys.argv[1], sys.argv[1] + '2')", str(path))
    path.parent.chmod(0o755)
    assert path.read_text() == "whole"


def test_processor_time_is_bounded_from_then_on() -> None:
    """What the start took is not a query's."""
    code = """
import time
def work(s):
    end = time.process_time() + s
    while time.process_time() < end: pass
work(2.1)
limit_resources(memory_bytes=50_000_000, cpu_s=1)
work(0.5)
print("still here", flush=True)
work(10)
print("for ever")
"""
    assert confined(code) == "still here"


def test_memory_is_bounded() -> None:
    assert "MemoryError" in confined("limit_resources(memory_bytes=50_000_000, cpu_s=5)\nbytearray(100_000_000)")


def test_processor_time_is_bounded() -> None:
    assert (
        confined("limit_resources(memory_bytes=50_000_000, cpu_s=1)\nprint('on', flush=True)\nwhile True: pass") == "on"
    )


def has_empty_network() -> bool:
    """Whether this kernel gives a confined process a network of its own."""
    return confined("print(socket.if_nameindex())") == "[(1, 'lo')]"


def test_network_is_out_of_reach_where_the_kernel_can_do_that() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = confined(f"print(socket.socket().connect_ex(('127.0.0.1', {port})))")
    if has_empty_network():
        assert said != "0"


def test_it_dies_with_its_parent() -> None:
    """A service that is killed outright leaves none behind."""
    program = (
        "import asyncio\n"
        "from app.sql.service import QueryProcessPool\n"
        "async def main():\n"
        "    async with QueryProcessPool.open(limit=2) as pool:\n"
        "        parent = await pool._fork_servers.get()\n"
        "        forks = [await parent.fork() for _ in range(2)]\n"
        "        print(parent._process.pid, *[fork.pid for fork in forks], flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    argv = [sys.executable, "-B", "-c", program]
    with subprocess.Popen(argv, env={"PYTHONPATH": str(ROOT), "SECRET": "hush"}, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
            assert not [child for child in children if "SECRET" in child.environ()]
            # what all wait for starts as fast as it can; a query goes last
            assert eventually(lambda: [child.nice() for child in children] == [0, 10, 10], 20)
        finally:
            parent.kill()
    assert eventually(lambda: not any(map(is_alive, children)), 20)


def open_in(pid: int) -> list[str]:
    """What a process holds open but the empty device; nothing while it is closing some."""
    try:
        names = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return []
    return [name for name in names if name != os.devnull]


@pytest.fixture
async def parent(tmp_path: Path) -> AsyncIterator[ForkServer]:
    """The process that forks."""
    async with ForkServerKeeper.open(tmp_path) as parents:
        yield await parents.get()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that nobody may trace")
async def test_fork_holds_nothing_of_its_parent_open(parent: ForkServer) -> None:
    """With the socket of the orders it could have others killed; with those of other forks read their answers."""
    forks = [await parent.fork() for _ in range(2)]

    async def hold_two_each() -> bool:
        held = [open_in(fork.pid) for fork in forks]
        # the way it is asked and answers, and what tells of its end
        kinds = [sorted(name.split(":")[0] for name in names) for names in held]
        return kinds == [["pipe", "socket"]] * 2 and not set(held[0]) & set(held[1])

    await until(hold_two_each)
    for fork in forks:
        await parent.end(fork)


async def test_fork_that_dies_at_once_has_an_exit_code(parent: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = asyncio.open_unix_connection

    async def too_late(*, sock: socket.socket) -> Any:
        sock.shutdown(socket.SHUT_RDWR)  # a fork whose asker has gone ends

        async def is_dead() -> bool:
            return not parent._exit_codes

        await until(is_dead)
        return await connect(sock=sock)

    monkeypatch.setattr(asyncio, "open_unix_connection", too_late)
    fork = await parent.fork()
    assert await fork.wait_exit() == 1
    await parent.end(fork)
