"""The only door to DuckDB."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import duckdb
import numpy.typing as npt

from app.errors import QueryTimeout
from app.store.gate import Gate
from app.store.literal import literal

Connection = duckdb.DuckDBPyConnection
Relation = duckdb.DuckDBPyRelation
LakeError = duckdb.Error
Interrupted = duckdb.InterruptException
OutOfMemory = duckdb.OutOfMemoryException
Row = tuple[Any, ...]
Columns = Mapping[str, npt.NDArray[Any]]
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
_SEALING = (
    "SET TimeZone = 'UTC'",
    "SET enable_progress_bar = false",
    "SET python_enable_replacements = false",  # a name in SQL is no variable of ours
    "SET enable_external_access = false",
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET lock_configuration = true",
)
# an interrupt that arrives before the query has started is lost, so it is repeated
_INTERRUPT_EVERY_S = 0.05


def connect(*, threads: int = 2, memory: str = "2GB", spill: Path | None = None) -> Connection:
    """Open an in-memory DuckDB with UTC as its time zone; `memory` as DuckDB spells it (`2GB`).

    What exceeds the memory goes to the folder `spill`, made when needed; without one to `.tmp` where the process runs.
    """
    spilling = {"temp_directory": str(spill)} if spill else {}
    connection = duckdb.connect(config=_CONFIG | _OURS | spilling | {"threads": threads, "memory_limit": memory})
    connection.execute("SET TimeZone = 'UTC'")
    # it would draw over the pipeline's own bars, and into logs
    connection.execute("SET enable_progress_bar = false")
    return connection


def connect_sealed(databases: Mapping[str, Path], *, threads: int = 1, memory: str = "512MB") -> Connection:
    """Open database files for reading, their tables all under their bare names; SQL then reaches nothing else.

    External access off is not enough: it leaves the attached files' own write-ahead logs open to COPY.
    """
    connection = duckdb.connect(config=_CONFIG | _SEALED | {"threads": threads, "memory_limit": memory})
    for name, path in databases.items():
        connection.execute(f"ATTACH {literal(str(path))} AS {name} (READ_ONLY)")
    connection.execute(f"SET search_path = {literal(','.join(databases))}")
    for statement in _SEALING:
        connection.execute(statement)
    return connection


def columns(cursor: Connection, sql: str, params: Sequence[Any] = ()) -> Columns:
    """The result of a query as one array a column, masked where there are nulls."""
    return cast(Columns, cursor.execute(sql, params).fetchnumpy())


class Lake:
    """One DuckDB behind an async door: a cursor per call, few calls at once, each with a deadline."""

    def __init__(self, connection: Connection, gate: Gate | None = None, *, timeout_s: float = 10.0) -> None:
        self._connection = connection
        self._gate = gate or Gate()
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(self._gate.concurrency, thread_name_prefix="lake")
        self._schema: str | None = None

    def within(self, schema: str | None) -> "Lake":
        """The same lake, where names mean the tables of a schema first and then those of all; None: only those."""
        lake = copy(self)
        lake._schema = schema
        return lake

    async def fetch(self, sql: str, params: Sequence[Any] = (), *, timeout_s: float | None = None) -> list[Row]:
        """All rows of a query."""
        return await self.run(lambda cursor: cursor.execute(sql, params).fetchall(), timeout_s=timeout_s)

    async def run(self, work: Callable[[Connection], T], *, timeout_s: float | None = None) -> T:
        """Do `work` with a cursor of its own in a thread; QueryTimeout past the deadline, QueryQueueFull at once."""
        with self.query(timeout_s=timeout_s) as query:
            return await query.step(work)

    def query(self, *, timeout_s: float | None = None) -> "Query":
        """A cursor for reading in steps, as a streamed answer does; the deadline is that of one step."""
        self._gate.admit()
        cursor = self._connection.cursor()
        if self._schema is not None:
            cursor.execute(f"SET search_path = '{self._schema},main'")
        return Query(cursor, self._pool, self._gate, timeout_s or self._timeout_s)

    def close(self) -> None:
        """End the threads, then the database."""
        self._pool.shutdown(wait=True)
        self._connection.close()


class Query:
    """One cursor and the thread work done with it, one step at a time."""

    def __init__(self, cursor: Connection, pool: ThreadPoolExecutor, gate: Gate, timeout_s: float) -> None:
        self._cursor = cursor
        self._pool = pool
        self._gate = gate
        self._timeout_s = timeout_s
        self._last: Future[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is None:
            self._cursor.close()
        else:
            # at once when the step is over; else in its thread when it ends, so that the loop never waits
            self._last.add_done_callback(lambda _: self._cursor.close())

    async def step(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a thread; past the deadline, which counts the wait for a turn, it is interrupted."""
        try:
            async with asyncio.timeout(self._timeout_s), self._gate.turn():
                return await self._run(work)
        except TimeoutError:
            detail = f"The query took more than {self._timeout_s:g} s."
            raise QueryTimeout(detail, timeout_s=self._timeout_s) from None

    async def _run(self, work: Callable[[Connection], T]) -> T:
        self._last = future = self._pool.submit(work, self._cursor)
        outcome = asyncio.wrap_future(future)
        # of a query that is given up nobody asks how it ended: asyncio would log it as an error nobody handled
        outcome.add_done_callback(lambda _: outcome.cancelled() or outcome.exception())
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            await self._stop(future)
            raise

    async def _stop(self, future: Future[T]) -> None:
        while not future.cancel() and not future.done():
            self._cursor.interrupt()
            await asyncio.sleep(_INTERRUPT_EVERY_S)
