"""Runs queries of strangers, each in a process of its own that is killed past its bounds."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

import structlog

from app.errors import ServiceError, SqlBusy, SqlRejected, SqlTimeout, SqlTooLarge
from app.sql.parent import Fork, Parents
from app.sql.question import Failure, Question, decode_answer
from app.sql.render import TooMuch

log = structlog.get_logger(__name__)
_HEAD_BYTES = 4096  # of an answer, beside its body
_PIECE_BYTES = 2**16
_RETRY_AFTER_S = 1.0
_ERRORS: dict[str, type[ServiceError]] = {error.code: error for error in (SqlRejected, SqlTooLarge)}


class Cells:
    """At most `limit` queries at once, each in a fork of a process that waits ready: no query waits for a start."""

    def __init__(self, parents: Parents, *, limit: int) -> None:
        self._parents = parents
        self._limit = limit
        self.running = 0
        self.refused = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, *, limit: int) -> AsyncIterator[Self]:
        """Keep that process ready until the end."""
        async with AsyncExitStack() as stack:
            folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="touchline-sql-")
            stack.push_async_callback(asyncio.to_thread, folder.cleanup)
            yield cls(await stack.enter_async_context(Parents.open(Path(folder.name))), limit=limit)

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
        async with self._forked() as fork:
            return await _asked(fork, question)

    @asynccontextmanager
    async def _forked(self) -> AsyncIterator[Fork]:
        """A process of its own, which is over afterwards."""
        try:
            parent = await self._parents.get()
            fork = await parent.fork()
        except (OSError, RuntimeError, TimeoutError) as error:
            log.warning("a process for SQL could not be started", error=str(error) or type(error).__name__)
            raise SqlBusy("No process could be started for the query.", retry_after_s=_RETRY_AFTER_S) from None
        try:
            yield fork
        finally:
            await parent.end(fork)


async def _asked(fork: Fork, question: Question) -> tuple[bytes, int]:
    bounds = question.bounds
    try:
        async with asyncio.timeout(bounds.timeout_s):
            raw = await _exchanged(fork, question)
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
        exit_code = await fork.ended()
        if exit_code == -signal.SIGXCPU:
            raise _timeout(bounds.timeout_s) from None
        log.warning("a query ended its process", exit_code=exit_code)
        raise SqlRejected(f"The query brought down the process it ran in (exit code {exit_code}).") from None


def _timeout(timeout_s: float) -> SqlTimeout:
    return SqlTimeout(f"The query took more than {timeout_s:g} s.", timeout_s=timeout_s)


async def _exchanged(fork: Fork, question: Question) -> bytes:
    pieces, size_bytes = [], 0
    # of one that has died, what it had said is all there is
    with suppress(ConnectionError):
        fork.writer.write(question.encode())
        await fork.writer.drain()
        while piece := await fork.reader.read(_PIECE_BYTES):
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > question.bounds.max_bytes + _HEAD_BYTES:
                raise TooMuch("The answer is too large.")
    return b"".join(pieces)
