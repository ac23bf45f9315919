"""The prediction ledger: every live prediction, written to PostgreSQL behind the answer; rejected rows go to a file."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
import structlog

from app.ledger.chain import CHAINS, PREDICTIONS, SHADOWS, Chain
from app.ledger.database import AWAY, DatabaseState, LedgerDatabase
from app.ledger.journal import Journal, read_rows
from app.ledger.rows import LedgerRow, ShadowRow
from app.ledger.writer import RejectedRow, append_rows, encode_rows, fetch_head
from app.settings import Settings

log = structlog.get_logger(__name__)


class RejectedRows:
    """One JSON line a row: the table, why it was refused, and its values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = 0  # refused since this process began

    def append(self, chain: Chain, refused: Sequence[RejectedRow]) -> None:
        """Append them; blocks. OSError when the file cannot be written, and then the rows are still in the journal."""
        if not refused:
            return
        with self._path.open("ab") as file:
            file.writelines(_line(chain, each) for each in refused)
        self.rows += len(refused)
        log.error("the database refuses ledger rows", table=chain.table, rows=len(refused), kept_in=str(self._path))


def _line(chain: Chain, refused: RejectedRow) -> bytes:
    row = dict(zip(chain.columns, refused.values, strict=True))
    # repr: the row may be refused because of what JSON cannot hold either
    return orjson.dumps(
        {"table": chain.table, "reason": refused.reason, "row": row}, default=repr, option=orjson.OPT_APPEND_NEWLINE
    )


FLUSH_S = 0.5
CLOSE_S = 2.0  # what the flusher may take to end what it has begun
HEAD_EVERY_S = 600.0  # the heads in the log vouch for the chain from outside the database
JOURNAL_LIMIT_BYTES = 256 * 2**20  # some 500,000 rows while the database is away
MEMORY_LIMIT_ROWS = 20_000  # some 20 MB while the disk takes nothing; at 50 answers a second nearly seven minutes


class Ledger:
    """Rows go to a journal on disk at once and to PostgreSQL in batches; nothing is lost while one of the two is away.

    A row that the disk does not take waits in memory. It is lost only when the database is away as well and the process
    ends, or memory has as many rows as it may.
    """

    def __init__(self, journal: Journal, rejected: RejectedRows, database: LedgerDatabase) -> None:
        self.database = database
        self._journal = journal
        self._rejected = rejected
        self._memory: deque[LedgerRow] = deque()
        self._flushing = asyncio.Lock()
        self._since: float | None = None  # when the oldest row in the journal's current file was written
        self._in_flight = InFlight()
        self._head_due = 0.0
        self.rows_lost = 0  # neither disk nor memory had room, or the process ended with them

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> "AsyncIterator[Ledger | NoLedger]":
        """Open it; a database that is away does not fail this."""
        if settings.database_url is None:
            yield NoLedger()
            return
        home = settings.touchline_home
        journal = await asyncio.to_thread(Journal, home / "ledger-journal", limit_bytes=JOURNAL_LIMIT_BYTES)
        rejected = RejectedRows(home / "ledger-refused.jsonl")
        ledger = cls(journal, rejected, LedgerDatabase(settings.database_url.get_secret_value()))
        closing = asyncio.Event()
        flusher = asyncio.create_task(ledger._flush_until(closing), name="ledger flusher")
        try:
            yield ledger
        finally:
            closing.set()
            await _ended(flusher)
            await ledger._close()

    @property
    def lag_s(self) -> float:
        """Age of the oldest row of this process that the database does not have, seconds; 0 when it has all."""
        since = self._in_flight.since if self._in_flight.since is not None else self._since
        return 0.0 if since is None else monotonic() - since

    @property
    def rows_waiting(self) -> int:
        """Rows of this process that the database does not have yet."""
        return self._journal.rows + self._in_flight.rows + len(self._memory)

    @property
    def bytes_waiting(self) -> int:
        """Size of the journal, with what ended processes have left."""
        return self._journal.bytes_waiting

    @property
    def fault(self) -> str | None:
        """Why rows wait in memory and not on disk; None while the disk takes them."""
        return self._journal.fault

    @property
    def rows_refused(self) -> int:
        """Rows that PostgreSQL refused; they are in a file of their own."""
        return self._rejected.rows

    def record(self, row: LedgerRow) -> bool:
        """Keep one row, a few microseconds; whether it is kept: disk and memory may both be full."""
        if self.record_on_disk(row):
            return True
        if len(self._memory) >= MEMORY_LIMIT_ROWS:
            self._lose(row)
            return False
        self._memory.append(row)
        self._note_wait()
        return True

    def record_on_disk(self, row: LedgerRow) -> bool:
        """Keep one row whose source outlives this process; False when the disk takes none: the source keeps it."""
        if not self._journal.append(row):
            return False
        self._note_wait()
        return True

    def _note_wait(self) -> None:
        if self._since is None:
            self._since = monotonic()

    async def flush(self) -> int:
        """Insert what waits in memory and in the journal into the database; the number of rows. One of AWAY."""
        async with self._flushing:
            # first the database: while it is away the journal stays one file
            pool = await self.database.pool()
            await pool.execute("SELECT 1")
            self._in_flight.add(self._journal.rows, self._since)
            self._since = None
            self._journal.rotate()
            n_rows = await self._insert_memory()
            with self._journal.closed_files() as files:
                n_rows += sum([await self._insert_file(path) for path in files])
            self._in_flight = InFlight()
            return n_rows

    async def store_shadows(self, rows: Sequence[ShadowRow]) -> None:
        """Write shadow answers; those that are there already are left alone. One of AWAY when that cannot be."""
        if not await self._store(SHADOWS, [row.values() for row in rows]):
            raise OSError("the file of rejected rows cannot be written")

    async def database_state(self) -> DatabaseState:
        """Whether the database answers now."""
        return await self.database.state()

    async def _insert_memory(self) -> int:
        rows = list(self._memory)
        if not rows:
            return 0
        if await self._store(PREDICTIONS, [row.values() for row in rows]):
            for _ in rows:
                self._memory.popleft()
        return len(rows)

    async def _insert_file(self, path: Path) -> int:
        n_rows, portions = 0, read_rows(path)
        try:
            while (rows := await _read_portion(portions)) is not None:
                if not await self._store(PREDICTIONS, rows):
                    return n_rows
                n_rows += len(rows)
            await _remove(path)
        except _FileError as error:
            self._journal.skip(path, error)
        return n_rows

    def _lose(self, row: LedgerRow) -> None:
        self.rows_lost += 1
        log.error("ledger row lost", request_id=row.request_id, match=row.match_id, cause=self._journal.fault)

    async def _store(self, chain: Chain, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Insert rows; false when a rejected one could not be kept, and then all are to be stored again."""
        found, unfit = await asyncio.to_thread(encode_rows, chain, rows)
        refused = await append_rows(await self.database.pool(), chain, found)
        try:
            await asyncio.to_thread(self._rejected.append, chain, unfit + refused)
        except OSError as error:
            log.error("ledger.rejected_rows_file_failed", rows=len(unfit) + len(refused), error=str(error))
            return False
        return True

    async def _flush_until(self, closing: asyncio.Event) -> None:
        away = False
        while not closing.is_set():
            try:
                if await self.flush():
                    await self._tell_heads()
                away = False
            except AWAY as error:
                if not away:
                    log.warning("the ledger's database is away; rows wait in the journal", error=str(error))
                away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_S):
                    await closing.wait()

    async def _tell_heads(self, *, at_once: bool = False) -> None:
        if at_once or monotonic() >= self._head_due:
            self._head_due = monotonic() + HEAD_EVERY_S
            async with (await self.database.pool()).acquire() as connection:
                for chain in CHAINS:
                    log.info("ledger head", table=chain.table, head=str(await fetch_head(connection, chain)))

    async def _close(self) -> None:
        with contextlib.suppress(*AWAY):
            await self.flush()
            await self._tell_heads(at_once=True)
        for row in self._memory:
            self._lose(row)
        self._journal.close()
        await self.database.close()


async def _ended(flusher: asyncio.Task[None]) -> None:
    """Let it end what it has begun: with a statement cancelled half-way, a connection cannot be given back."""
    await asyncio.wait([flusher], timeout=CLOSE_S)
    flusher.cancel()
    with contextlib.suppress(asyncio.CancelledError, *AWAY):
        await flusher


class InFlight:
    """The rows that have left the journal's current file and are not in the database yet."""

    def __init__(self) -> None:
        self.rows = 0
        self.since: float | None = None

    def add(self, rows: int, since: float | None) -> None:
        self.rows += rows
        if self.since is None:
            self.since = since


class _FileError(Exception):
    """A file of the journal cannot be read or removed; what the database raises may be an OSError too."""


async def _read_portion(portions: Iterator[list[LedgerRow]]) -> list[tuple[Any, ...]] | None:
    try:
        rows = await asyncio.to_thread(next, portions, None)
    except OSError as error:
        raise _FileError(str(error)) from error
    return None if rows is None else [row.values() for row in rows]


async def _remove(path: Path) -> None:
    try:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    except OSError as error:
        raise _FileError(str(error)) from error


class NoLedger:
    """Stands in where no database is configured."""

    database = fault = None
    lag_s = 0.0
    rows_waiting = bytes_waiting = rows_lost = rows_refused = 0

    def record(self, row: LedgerRow) -> bool:  # noqa: ARG002  # as the other ledger
        """Keep nothing."""
        return False

    async def store_shadows(self, rows: Sequence[ShadowRow]) -> None:
        """Keep nothing."""

    async def database_state(self) -> DatabaseState:
        """There is none."""
        return "not_configured"
