"""The service's end of the process whose forks run queries: one is started, asked for forks, and started again."""

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from app.sql.protocol import ENDED, FORK, KILL, READY, STARTED

log = structlog.get_logger(__name__)
_ROOT = Path(__file__).parents[2]
# what this process has compiled, where it keeps that elsewhere than beside the source
_COMPILED = ("-X", f"pycache_prefix={sys.pycache_prefix}") if sys.pycache_prefix else ()
# nothing of ours; the allocators are to reserve no address space, which is what is limited
_ENVIRONMENT = {
    "PYTHONPATH": str(_ROOT),
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
}
_START_TIMEOUT_S = 60.0


# the number of a process, and its exit code
_Started = tuple[int, asyncio.Future[int]]


@dataclass(frozen=True, slots=True)
class QueryProcess:
    """A process for one query: its number, its exit code when it has ended, both ways of its socket."""

    pid: int
    exit_code: asyncio.Future[int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def wait_exit(self) -> int:
        """Its exit code, once it has ended."""
        # whoever stops waiting does not end the wait of others
        return await asyncio.shield(self.exit_code)


class ForkServer:
    """The running process, which is ready."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._starting: deque[asyncio.Future[_Started]] = deque()
        self._exit_codes: dict[int, asyncio.Future[int]] = {}
        self._reading = asyncio.create_task(self._read_events())

    @classmethod
    async def start(cls, folder: Path) -> Self:
        """Start it with that folder as its own; OSError, RuntimeError, TimeoutError when it cannot be started."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        try:
            with theirs:
                process = await _start_process(folder, theirs)
        except BaseException:
            ours.close()
            raise
        return cls(process, ours)

    @property
    def has_ended(self) -> bool:
        """Whether no fork can be had from it any more."""
        return self._reading.done()

    async def fork(self) -> QueryProcess:
        """A process that has imported everything and waits for a question; OSError when there is none to be had."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid, exit_code = await self._spawn(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            # a fork that is started nevertheless finds nobody who asks, and ends
            ours.close()
            raise
        return QueryProcess(pid, exit_code, reader, writer)

    async def end(self, fork: QueryProcess) -> None:
        """Kill it unless it has ended, and wait until it has."""
        fork.writer.close()
        if not fork.exit_code.done():
            with suppress(OSError):
                self._control.send(b"%s %d" % (KILL, fork.pid))
        await fork.wait_exit()

    async def stop(self) -> None:
        """Kill it; its forks die with it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._reading

    async def _spawn(self, asked: socket.socket) -> _Started:
        if self.has_ended:
            raise ConnectionResetError("the process that forks has ended")
        socket.send_fds(self._control, [FORK], [asked.fileno()])
        started: asyncio.Future[_Started] = asyncio.get_running_loop().create_future()
        self._starting.append(started)
        return await started

    async def _read_events(self) -> None:
        said = _pipe(self._process.stdout)
        while line := await said.readline():
            what, pid, *exit_code = line.split()
            if what == STARTED:
                self._set_started(int(pid))
            elif what == ENDED:
                self._exit_codes.pop(int(pid)).set_result(int(exit_code[0]))
        self._control.close()
        ended = f"the process that forks has ended: exit code {await self._process.wait()}"
        for started in self._starting:
            if not started.done():
                started.set_exception(ConnectionResetError(ended))
        for exit_code_of in self._exit_codes.values():
            exit_code_of.set_result(-signal.SIGKILL)

    def _set_started(self, pid: int) -> None:
        started = self._starting.popleft()
        if pid >= 0:
            self._exit_codes[pid] = asyncio.get_running_loop().create_future()
        # whoever asked may have gone
        if started.done():
            return
        if pid >= 0:
            # with it, as it may have died before the asker's turn comes
            started.set_result((pid, self._exit_codes[pid]))
        else:
            started.set_exception(BlockingIOError("no process could be forked"))


class ForkServerKeeper:
    """One parent at a time, and another when that has died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starting: asyncio.Task[ForkServer] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Self]:
        """Start one and keep it until the end."""
        keeper = cls(folder)
        keeper._start()
        try:
            yield keeper
        finally:
            await keeper._close()

    async def get(self) -> ForkServer:
        """One that is ready; OSError, RuntimeError, TimeoutError when it cannot be started."""
        return await asyncio.shield(self._start())

    def _start(self) -> asyncio.Task[ForkServer]:
        if self._starting is None or _is_over(self._starting):
            self._starting = asyncio.create_task(ForkServer.start(self._folder))
        return self._starting

    async def _close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await (await self._starting).stop()


def _is_over(starting: asyncio.Task[ForkServer]) -> bool:
    if not starting.done():
        return False
    return starting.cancelled() or starting.exception() is not None or starting.result().has_ended


async def _start_process(folder: Path, control: socket.socket) -> Process:
    """The process, ready; its environment holds nothing of ours."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-s", "-B", *_COMPILED, "-m", "app.sql", str(control.fileno())),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=DEVNULL,
        cwd=folder,
        env=_ENVIRONMENT,
        pass_fds=[control.fileno()],
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            said = await _pipe(process.stdout).readline()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        raise
    if said != READY:
        raise RuntimeError(f"the process that forks did not start: exit code {await process.wait()}")
    return process


def _pipe(pipe: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if pipe is None:
        raise RuntimeError("started without pipes")
    return pipe
