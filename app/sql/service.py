"""Run SQL from callers over the served snapshot, each query in a forked process that is killed at its deadline."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from app.errors import ServiceError, SqlBusy, SqlRejected, SqlTimeout, SqlTooLarge
from app.settings import SqlSettings
from app.sql.databases import Databases
from app.sql.forkserver_client import ForkServerKeeper, QueryProcess
from app.sql.protocol import Bounds, SqlFailure, SqlRequest, decode_answer
from app.sql.render import TooMuch
from app.store.snapshots import Snapshots

log = structlog.get_logger(__name__)
_HEAD_BYTES = 4096  # of an answer, beside its body
_PIECE_BYTES = 2**16
_RETRY_AFTER_S = 1.0
_ERRORS: dict[str, type[ServiceError]] = {error.code: error for error in (SqlRejected, SqlTooLarge)}


class QueryProcessPool:
    """At most `limit` queries at once, each in a fork of a process that waits ready: no query waits for a start."""

    def __init__(self, fork_servers: ForkServerKeeper, *, limit: int) -> None:
        self._fork_servers = fork_servers
        self._limit = limit
        self.running = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, *, limit: int) -> AsyncIterator[Self]:
        """Keep that process ready until the end."""
        async with AsyncExitStack() as stack:
            folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="touchline-sql-")
            stack.push_async_callback(asyncio.to_thread, folder.cleanup)
            yield cls(await stack.enter_async_context(ForkServerKeeper.open(Path(folder.name))), limit=limit)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """The right to run one query; SqlBusy when as many run as may."""
        if self.running >= self._limit:
            raise SqlBusy(f"{self._limit} queries are running already.", retry_after_s=_RETRY_AFTER_S)
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    async def run(self, question: SqlRequest) -> tuple[bytes, int]:
        """The answer and the number of its rows; SqlRejected, SqlTimeout, SqlTooLarge. Call it within `acquire`."""
        async with self._spawn() as fork:
            return await _run_query(fork, question)

    @asynccontextmanager
    async def _spawn(self) -> AsyncIterator[QueryProcess]:
        """A process of its own, which is over afterwards."""
        try:
            parent = await self._fork_servers.get()
            fork = await parent.fork()
        except (OSError, RuntimeError, TimeoutError) as error:
            log.warning("a process for SQL could not be started", error=str(error) or type(error).__name__)
            raise SqlBusy("No process could be started for the query.", retry_after_s=_RETRY_AFTER_S) from None
        try:
            yield fork
        finally:
            await parent.end(fork)


async def _run_query(fork: QueryProcess, question: SqlRequest) -> tuple[bytes, int]:
    bounds = question.bounds
    try:
        async with asyncio.timeout(bounds.timeout_s):
            raw = await _exchange(fork, question)
    except TimeoutError:
        raise _timeout(bounds.timeout_s) from None
    except TooMuch as error:
        raise SqlTooLarge(str(error)) from None
    try:
        return decode_answer(raw)
    except SqlFailure as failure:
        raise _ERRORS.get(failure.code, SqlRejected)(failure.detail) from None
    except (ValueError, KeyError, TypeError):
        # ended by the kernel for memory or processor time, or brought down by DuckDB itself
        exit_code = await fork.wait_exit()
        if exit_code == -signal.SIGXCPU:
            raise _timeout(bounds.timeout_s) from None
        log.warning("a query ended its process", exit_code=exit_code)
        raise SqlRejected(f"The query brought down the process it ran in (exit code {exit_code}).") from None


def _timeout(timeout_s: float) -> SqlTimeout:
    return SqlTimeout(f"The query took more than {timeout_s:g} s.", timeout_s=timeout_s)


async def _exchange(fork: QueryProcess, question: SqlRequest) -> bytes:
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


_BUILD_RETRY_AFTER_S = 5.0
DatabaseBuild = asyncio.Task[tuple[str, dict[str, Path]]]


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """An answer: from which snapshot, its bytes, and the number of its rows."""

    snapshot_id: str
    body: bytes
    n_rows: int


class SqlService:
    """One service a service."""

    def __init__(self, pool: QueryProcessPool, databases: Databases, bounds: Bounds) -> None:
        self._databases = databases
        self._bounds = bounds
        self._builds: set[DatabaseBuild] = set()
        self.pool = pool

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: SqlSettings) -> AsyncIterator[Self]:
        """Keep processes ready until the end."""
        bounds = Bounds(
            timeout_s=settings.timeout_s,
            max_rows=settings.max_rows,
            max_bytes=settings.max_bytes,
            memory_mb=settings.memory_mb,
        )
        async with QueryProcessPool.open(limit=settings.concurrency) as pool:
            service = cls(pool, Databases(settings.cache), bounds)
            try:
                yield service
            finally:
                for build in list(service._builds):
                    build.cancel()
                await asyncio.gather(*service._builds, return_exceptions=True)

    async def ask(self, snapshots: Snapshots, sql: str, media: str) -> SqlAnswer:
        """Answer from the current snapshot; SqlBusy, SqlRejected, SqlTimeout, SqlTooLarge."""
        with self.pool.acquire():
            snapshot_id, databases = await self._prepare_databases(snapshots, sql)
            question = SqlRequest(sql, databases, media, self._bounds)
            body, n_rows = await self.pool.run(question)
            return SqlAnswer(snapshot_id, body, n_rows)

    async def _prepare_databases(self, snapshots: Snapshots, sql: str) -> tuple[str, dict[str, Path]]:
        build = asyncio.create_task(self._build_databases(snapshots, sql))
        # it goes on when this caller does not wait: the next one finds it done
        self._builds.add(build)
        build.add_done_callback(self._note_built)
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                return await asyncio.shield(build)
        except TimeoutError:
            raise SqlBusy("The snapshot is being made ready for SQL.", retry_after_s=_BUILD_RETRY_AFTER_S) from None

    async def _build_databases(self, snapshots: Snapshots, sql: str) -> tuple[str, dict[str, Path]]:
        async with snapshots.reading() as snapshot:
            return snapshot.id, await self._databases.get_files(snapshot, sql)

    def _note_built(self, build: DatabaseBuild) -> None:
        self._builds.discard(build)
        if not build.cancelled() and (error := build.exception()) is not None:
            log.warning("a snapshot could not be made ready for SQL", error=type(error).__name__)
