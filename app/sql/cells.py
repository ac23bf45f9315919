"""Runs queries of strangers, each in a process of its own that was ready for it and is killed past its bounds."""

import asyncio
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

import structlog

from app.errors import ServiceError, SqlBusy, SqlRejected, SqlTimeout, SqlTooLarge
from app.sql.question import READY, Failure, Question, decode_answer
from app.sql.render import TooMuch

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
_END_TIMEOUT_S = 2.0
_HEAD_BYTES = 4096  # of an answer, beside its body
_PIECE_BYTES = 2**16
_RETRY_AFTER_S = 1.0
_ERRORS: dict[str, type[ServiceError]] = {error.code: error for error in (SqlRejected, SqlTooLarge)}


class Cells:
    """At most `limit` queries at once; as many processes wait ready, so that no query waits for a start."""

    def __init__(self, folder: Path, *, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._ready: list[asyncio.Task[Process]] = []
        self.running = 0
        self.refused = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, *, limit: int) -> AsyncIterator[Self]:
        """Keep processes ready until the end."""
        async with AsyncExitStack() as stack:
            folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="touchline-sql-")
            stack.push_async_callback(asyncio.to_thread, folder.cleanup)
            cells = cls(Path(folder.name), limit=limit)
            stack.push_async_callback(cells._close)
            cells._refill()
            yield cells

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The right to run one query; SqlBusy when as many run as may."""
        if self.running >= self._limit:
            self.refused += 1
            raise SqlBusy(f"{self._limit} queries are running already.", retry_after_s=_RETRY_AFTER_S)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def run(self, question: Question) -> tuple[bytes, int]:
        """The answer and the number of its rows; SqlRejected, SqlTimeout, SqlTooLarge. To be called in a turn."""
        async with self._taken() as process:
            return await _asked(process, question)

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Process]:
        """A process that is ready, which is used up."""
        self._refill()
        starting = self._ready.pop(0)
        self._refill()
        try:
            process = await starting
        except (OSError, RuntimeError, TimeoutError) as error:
            log.warning("a process for SQL could not be started", error=str(error) or type(error).__name__)
            raise SqlBusy("No process could be started for the query.", retry_after_s=_RETRY_AFTER_S) from None
        except BaseException:
            await _ended(starting)
            raise
        try:
            yield process
        finally:
            await _killed(process)

    def _refill(self) -> None:
        self._ready = [starting for starting in self._ready if not _has_died(starting)]
        while len(self._ready) < self._limit:
            self._ready.append(asyncio.create_task(_started(self._folder)))

    async def _close(self) -> None:
        for starting in self._ready:
            await _ended(starting)


def _has_died(starting: asyncio.Task[Process]) -> bool:
    if not starting.done():
        return False
    return starting.cancelled() or starting.exception() is not None or starting.result().returncode is not None


async def _started(folder: Path) -> Process:
    """A process that has imported everything and waits; its environment holds nothing of ours."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-s", "-B", *_COMPILED, "-m", "app.sql"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        cwd=folder,
        env=_ENVIRONMENT,
    )
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            said = await _pipe(process.stdout).readline()
    except BaseException:
        await _killed(process)
        raise
    if said != READY:
        raise RuntimeError(f"a process for SQL did not start: exit code {await process.wait()}")
    return process


async def _ended(starting: asyncio.Task[Process]) -> None:
    starting.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await _killed(await starting)


async def _killed(process: Process) -> None:
    if _pipe(process.stdout).at_eof():
        # it ends by itself: asyncio of Python 3.11 loses count of a process that is killed in that moment
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT_S):
                await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await asyncio.shield(process.wait())


async def _asked(process: Process, question: Question) -> tuple[bytes, int]:
    bounds = question.bounds
    try:
        async with asyncio.timeout(bounds.timeout_s):
            raw = await _exchanged(process, question)
    except TimeoutError:
        raise _timeout(bounds.timeout_s) from None
    except TooMuch as error:
        raise SqlTooLarge(str(error)) from None
    try:
        return decode_answer(raw)
    except Failure as failure:
        raise _ERRORS.get(failure.code, SqlRejected)(failure.detail) from None
    except (ValueError, KeyError, TypeError):
        # ended by the kernel for memory or processor time, or brought down by DuckDB itself
        exit_code = await process.wait()
        if exit_code == -signal.SIGXCPU:
            raise _timeout(bounds.timeout_s) from None
        log.warning("a query ended its process", exit_code=exit_code)
        raise SqlRejected(f"The query brought down the process it ran in (exit code {exit_code}).") from None


def _timeout(timeout_s: float) -> SqlTimeout:
    return SqlTimeout(f"The query took more than {timeout_s:g} s.", timeout_s=timeout_s)


async def _exchanged(process: Process, question: Question) -> bytes:
    stdin, stdout = process.stdin, _pipe(process.stdout)
    if stdin is None:
        raise RuntimeError("started without pipes")
    with suppress(ConnectionError):
        stdin.write(question.encode())
        await stdin.drain()
    pieces, size_bytes = [], 0
    while piece := await stdout.read(_PIECE_BYTES):
        pieces.append(piece)
        size_bytes += len(piece)
        if size_bytes > question.bounds.max_bytes + _HEAD_BYTES:
            raise TooMuch("The answer is too large.")
    return b"".join(pieces)


def _pipe(pipe: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if pipe is None:
        raise RuntimeError("started without pipes")
    return pipe
