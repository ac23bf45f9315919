"""The prediction ledger: every live prediction, written to PostgreSQL behind the answer; rejected rows go to a file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
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
from app.ledger.writer import RejectedRow, append, encoded, head
from app.settings import Settings

log = structlog.get_logger(__name__)


class RejectedRows:
    """One JSON line a row: the table, why it was refused, and its values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = 0  # refused since this process began

    def keep(self, chain: Chain, refused: Sequence[RejectedRow]) -> None:
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


class Ledger:
    """Rows go to a journal on disk at once and to PostgreSQL in batches; nothing is lost while it is away."""

    def __init__(self, journal: Journal, aside: RejectedRows, database: LedgerDatabase) -> None:
        self.database = database
        self._journal = journal
        self._aside = aside
        self._flushing = asyncio.Lock()
        self._since: float | None = None  # when the oldest row in the journal's current file was written
        self._handing = _Handing()
        self._head_due = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> "AsyncIterator[Ledger | NoLedger]":
        """Open it; a database that is away does not fail this."""
        if settings.database_url is None:
            yield NoLedger()
            return
        home = settings.touchline_home
        journal = await asyncio.to_thread(Journal, home / "ledger-journal", limit_bytes=JOURNAL_LIMIT_BYTES)
        aside = RejectedRows(home / "ledger-refused.jsonl")
        ledger = cls(journal, aside, LedgerDatabase(settings.database_url.get_secret_value()))
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
        since = self._handing.since if self._handing.since is not None else self._since
        return 0.0 if since is None else monotonic() - since

    @property
    def rows_waiting(self) -> int:
        """Rows of this process that the database does not have yet."""
        return self._journal.rows + self._handing.rows

    @property
    def bytes_waiting(self) -> int:
        """Size of the journal, with what ended processes have left."""
        return self._journal.bytes_waiting

    @property
    def rows_lost(self) -> int:
        """Rows that could not be kept, because the journal or the disk was full."""
        return self._journal.rows_lost

    @property
    def rows_refused(self) -> int:
        """Rows that PostgreSQL refused; they are in a file of their own."""
        return self._aside.rows

    def record(self, row: LedgerRow) -> bool:
        """Keep one row, a few microseconds; whether it is kept: the journal or the disk may be full."""
        is_kept = self._journal.append(row)
        if is_kept and self._since is None:
            self._since = monotonic()
        return is_kept

    async def flush(self) -> int:
        """Bring what waits in the journal into the database; the number of rows handed over."""
        async with self._flushing:
            # first the database: while it is away the journal stays one file
            pool = await self.database.pool()
            await pool.execute("SELECT 1")
            self._handing.add(self._journal.rows, self._since)
            self._since = None
            self._journal.rotate()
            with self._journal.waiting() as files:
                handed_over = sum([await self._hand_over(path) for path in files])
            self._handing = _Handing()
            return handed_over

    async def store_shadows(self, rows: Sequence[ShadowRow]) -> None:
        """Write shadow answers; those that are there already are left alone. One of AWAY when that cannot be."""
        await self._store(SHADOWS, [row.values() for row in rows])

    async def database_state(self) -> DatabaseState:
        """Whether the database answers now."""
        return await self.database.state()

    async def _hand_over(self, path: Path) -> int:
        handed_over = 0
        portions = read_rows(path)
        while (rows := await asyncio.to_thread(_next_values, portions)) is not None:
            await self._store(PREDICTIONS, rows)
            handed_over += len(rows)
        await asyncio.to_thread(path.unlink)
        return handed_over

    async def _store(self, chain: Chain, rows: Sequence[tuple[Any, ...]]) -> None:
        found, unfit = await asyncio.to_thread(encoded, chain, rows)
        refused = await append(await self.database.pool(), chain, found)
        await asyncio.to_thread(self._aside.keep, chain, unfit + refused)

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
                    log.info("ledger head", table=chain.table, head=str(await head(connection, chain)))

    async def _close(self) -> None:
        with contextlib.suppress(*AWAY):
            await self.flush()
            await self._tell_heads(at_once=True)
        self._journal.close()
        await self.database.close()


async def _ended(flusher: asyncio.Task[None]) -> None:
    """Let it end what it has begun: with a statement cancelled half-way, a connection cannot be given back."""
    await asyncio.wait([flusher], timeout=CLOSE_S)
    flusher.cancel()
    with contextlib.suppress(asyncio.CancelledError, *AWAY):
        await flusher


class _Handing:
    """The rows that have left the journal's current file and are not in the database yet."""

    def __init__(self) -> None:
        self.rows = 0
        self.since: float | None = None

    def add(self, rows: int, since: float | None) -> None:
        self.rows += rows
        if self.since is None:
            self.since = since


def _next_values(portions: Iterable[list[LedgerRow]]) -> list[tuple[Any, ...]] | None:
    for rows in portions:
        return [row.values() for row in rows]
    return None


class NoLedger:
    """Stands in where no database is configured."""

    database = None
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
