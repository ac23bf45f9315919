"""The only importer of DuckDB: connections, the limiter of concurrent queries, cursors, and values written as SQL."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from copy import copy
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Self, TypeVar, cast

import duckdb
import numpy as np
import numpy.typing as npt

from app.errors import QueryQueueFull, QueryTimeout

_NO, _YES = b"01"


def to_sql(value: str | float | datetime) -> str:
    """A text, number, flag or aware time as DuckDB reads it."""
    if isinstance(value, str):
        # the one escape that a standard literal has; DuckDB knows no backslash in it, and no text holds a NUL
        return "'" + value.replace("'", "''").replace("\0", "") + "'"
    if isinstance(value, datetime):
        # with the offset it came with: the first and the last days of the calendar have no other
        return f"TIMESTAMPTZ '{value.isoformat(sep=' ')}'"
    if isinstance(value, bool):
        return str(value).lower()
    # a decimal point would make it a DECIMAL, whose digits are few
    return f"'{value!r}'::DOUBLE" if isinstance(value, float) else str(value)


def to_name(name: str) -> str:
    """A name of a column as DuckDB reads it."""
    return '"' + name.replace('"', '""') + '"'


def to_bitstring(places: npt.NDArray[np.integer[Any]], length: int) -> str:
    """What becomes a BIT of that length with ones at these places, the first of which is 0."""
    bits = np.full(length, _NO, np.uint8)
    bits[places] = _YES
    return bits.tobytes().decode()


class QueryLimiter:
    """Turns at DuckDB, first come first served; one limiter for all snapshots of a process.

    `running` and `waiting` are numbers of queries now, `finished` and `refused` since the start, `busy_s` the seconds
    that the finished ones took.
    """

    def __init__(self, concurrency: int = 4, queue_limit: int = 256) -> None:
        self.concurrency = concurrency
        self.queue_limit = queue_limit
        self.running = 0
        self.waiting = 0
        self.finished = 0
        self.refused = 0
        self.busy_s = 0.0
        self._turns = asyncio.Semaphore(concurrency)

    def check_queue(self) -> None:
        """QueryQueueFull when as many wait as may; what has begun goes on, however many have come since."""
        if self.waiting < self.queue_limit:
            return
        self.refused += 1
        detail = f"{self.waiting} queries are waiting already."
        raise QueryQueueFull(detail, retry_after_s=self._retry_after_s())

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[None]:
        """A turn, when it comes; one who goes away while waiting takes none."""
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        started = perf_counter()
        try:
            yield
        finally:
            self.running -= 1
            self.finished += 1
            self.busy_s += perf_counter() - started
            self._turns.release()

    def _retry_after_s(self) -> float:
        """When those who wait now will have had their turn, as fast as it went so far."""
        mean_s = self.busy_s / self.finished if self.finished else 0.0
        return max(1.0, math.ceil(self.waiting * mean_s / self.concurrency))


Connection = duckdb.DuckDBPyConnection
Relation = duckdb.DuckDBPyRelation
DatabaseError = duckdb.Error
Interrupted = duckdb.InterruptException
OutOfMemory = duckdb.OutOfMemoryException
Row = tuple[Any, ...]
Columns = Mapping[str, npt.NDArray[Any]]
Params = Sequence[Any] | dict[str, Any]
T = TypeVar("T")

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    # nothing is ever fetched from outside: an extension that is missing is an error, at once
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    # a join with so few rows becomes a filter of the other side's scan: 200 cards by id out of a million took
    # 90 ms without it and 23 with it
    "dynamic_or_filter_threshold": 2000,
}
_OURS: dict[str, str | bool | int | float | list[str]] = {
    # numbers written out go to the index either way; making a join of them, too, costs a page of 200 cards 2 ms.
    # Without it a long list that meets no index is slow: none of ours does, and the readers' SQL keeps it.
    "disabled_optimizers": "in_clause",
}
_SEALED: dict[str, str | bool | int | float | list[str]] = {
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "temp_directory": "",  # memory that does not suffice is an error, not a file
}
# a cursor is a session of its own, so a setting of the session alone would leave it the machine's zone
_SET_UTC = "SET GLOBAL TimeZone = 'UTC'"
_SEALING = (
    _SET_UTC,
    "SET enable_progress_bar = false",
    "SET python_enable_replacements = false",  # a name in SQL is no variable of ours
    "SET enable_external_access = false",
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET lock_configuration = true",
)
# an interrupt that arrives before the query has started is lost, so it is repeated
_INTERRUPT_EVERY_S = 0.05


def open_connection(*, threads: int = 2, memory: str = "2GB", spill: Path | None = None) -> Connection:
    """Open an in-memory DuckDB whose cursors all have UTC as their time zone; `memory` as DuckDB spells it (`2GB`).

    What exceeds the memory goes to the folder `spill`, made when needed; without one to `.tmp` where the process runs.
    """
    spilling = {"temp_directory": str(spill)} if spill else {}
    connection = duckdb.connect(config=_CONFIG | _OURS | spilling | {"threads": threads, "memory_limit": memory})
    connection.execute(_SET_UTC)
    # it would draw over the pipeline's own bars, and into logs
    connection.execute("SET enable_progress_bar = false")
    return connection


def open_sealed_connection(databases: Mapping[str, Path], *, threads: int = 1, memory: str = "512MB") -> Connection:
    """Open database files for reading, their tables all under their bare names; SQL then reaches nothing else.

    External access off is not enough: it leaves the attached files' own write-ahead logs open to COPY.
    """
    connection = duckdb.connect(config=_CONFIG | _SEALED | {"threads": threads, "memory_limit": memory})
    for name, path in databases.items():
        connection.execute(f"ATTACH {to_sql(str(path))} AS {name} (READ_ONLY)")
    connection.execute(f"SET search_path = {to_sql(','.join(databases))}")
    for statement in _SEALING:
        connection.execute(statement)
    return connection


def fetch_columns(cursor: Connection, sql: str, params: Sequence[Any] = ()) -> Columns:
    """The result of a query as one array a column, masked where there are nulls."""
    return cast(Columns, cursor.execute(sql, params).fetchnumpy())


class Database:
    """One DuckDB behind an async door: a cursor per call, few calls at once, each with a deadline."""

    def __init__(self, connection: Connection, limiter: QueryLimiter | None = None, *, timeout_s: float = 10.0) -> None:
        self._connection = connection
        self._limiter = limiter or QueryLimiter()
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(self._limiter.concurrency, thread_name_prefix="database")
        self._schema: str | None = None

    def within(self, schema: str | None) -> "Database":
        """The same database, where names mean the tables of a schema first and then those of all; None: only those."""
        database = copy(self)
        database._schema = schema
        return database

    async def fetch(self, sql: str, params: Params = (), *, timeout_s: float | None = None) -> list[Row]:
        """All rows of a query."""
        return await self.run(lambda cursor: cursor.execute(sql, params).fetchall(), timeout_s=timeout_s)

    async def run(self, work: Callable[[Connection], T], *, timeout_s: float | None = None) -> T:
        """Do `work` with a cursor of its own in a thread; QueryTimeout past the deadline, QueryQueueFull at once."""
        with self.query(timeout_s=timeout_s) as query:
            return await query.step(work)

    def query(self, *, timeout_s: float | None = None) -> "Query":
        """A cursor for reading in steps, as a streamed answer does; the deadline is that of one step."""
        self._limiter.check_queue()
        return Query(self._open_cursor, self._pool, self._limiter, timeout_s or self._timeout_s)

    def _open_cursor(self) -> Connection:
        cursor = self._connection.cursor()
        if self._schema is not None:
            cursor.execute(f"SET search_path = '{self._schema},main'")
        return cursor

    def close(self) -> None:
        """End the threads, then the database."""
        self._pool.shutdown(wait=True)
        self._connection.close()


class Query:
    """One cursor and the thread work done with it, one step at a time; the first step opens it, in its thread."""

    def __init__(
        self,
        open_cursor: Callable[[], Connection],
        pool: ThreadPoolExecutor,
        limiter: QueryLimiter,
        timeout_s: float,
    ) -> None:
        self._open_cursor = open_cursor
        self._cursor: Connection | None = None
        self._pool = pool
        self._limiter = limiter
        self._timeout_s = timeout_s
        self._last: Future[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is not None:
            # at once when the step is over; else in its thread when it ends, so that the loop never waits
            self._last.add_done_callback(lambda _: self._close())

    def _close(self) -> None:
        if self._cursor is not None:
            self._cursor.close()

    async def step(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a thread; past the deadline, which counts the wait for a turn, it is interrupted."""
        try:
            async with asyncio.timeout(self._timeout_s), self._limiter.acquire():
                return await self._run(work)
        except TimeoutError:
            detail = f"The query took more than {self._timeout_s:g} s."
            raise QueryTimeout(detail, timeout_s=self._timeout_s) from None

    async def _run(self, work: Callable[[Connection], T]) -> T:
        self._last = future = self._pool.submit(self._do, work)
        outcome = asyncio.wrap_future(future)
        # of a query that is given up nobody asks how it ended: asyncio would log it as an error nobody handled
        outcome.add_done_callback(lambda _: outcome.cancelled() or outcome.exception())
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            await self._stop(future)
            raise

    def _do(self, work: Callable[[Connection], T]) -> T:
        if self._cursor is None:
            self._cursor = self._open_cursor()
        return work(self._cursor)

    async def _stop(self, future: Future[T]) -> None:
        while not future.cancel() and not future.done():
            if self._cursor is not None:
                self._cursor.interrupt()
            await asyncio.sleep(_INTERRUPT_EVERY_S)
