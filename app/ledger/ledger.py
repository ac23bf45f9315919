"""The prediction ledger: every live prediction, written behind the answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import asyncpg
import structlog

from app.ledger.journal import Journal, read_rows
from app.ledger.migrations import migrate
from app.ledger.row import COLUMNS, LedgerRow
from app.settings import Settings

log = structlog.get_logger(__name__)

DatabaseState = Literal["connected", "unreachable", "not configured"]
FLUSH_S = 0.5
CONNECT_TIMEOUT_S = 5.0
JOURNAL_LIMIT_BYTES = 256 * 2**20  # some 500,000 rows while the database is away
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
INSERT = (
    f"INSERT INTO prediction_ledger ({', '.join(COLUMNS)}) "  # noqa: S608  names of our own dataclass
    f"VALUES ({', '.join(f'${n + 1}' for n in range(len(COLUMNS)))}) ON CONFLICT (id) DO NOTHING"
)


class Ledger:
    """Rows go to a journal on disk at once and to PostgreSQL in batches; nothing is lost while it is away."""

    def __init__(self, journal: Journal, database_url: str) -> None:
        self._journal = journal
        self._database_url = database_url
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._flushing = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> "AsyncIterator[Ledger | NoLedger]":
        """Open it; a database that is away does not fail this."""
        if settings.database_url is None:
            yield NoLedger()
            return
        journal = await asyncio.to_thread(
            Journal, settings.touchline_home / "ledger-journal", limit_bytes=JOURNAL_LIMIT_BYTES
        )
        ledger = cls(journal, settings.database_url.get_secret_value())
        flusher = asyncio.create_task(ledger._flush_for_ever(), name="ledger flusher")
        try:
            yield ledger
        finally:
            flusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flusher
            await ledger._close()

    def record(self, row: LedgerRow) -> None:
        """Keep one row; a few microseconds, never raises."""
        self._journal.append(row)

    async def flush(self) -> int:
        """Bring what waits in the journal into the database; the number of rows handed over."""
        async with self._flushing:
            # first the database: while it is away the journal stays one file
            pool = await self._opened()
            await pool.execute("SELECT 1")
            self._journal.rotate()
            with self._journal.waiting() as files:
                return sum([await _hand_over(path, pool) for path in files])

    async def database_state(self) -> DatabaseState:
        """Whether the database answers now."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await (await self._opened()).fetchval("SELECT 1")
        except AWAY:
            return "unreachable"
        return "connected"

    async def _flush_for_ever(self) -> None:
        away = False
        while True:
            try:
                await self.flush()
                away = False
            except AWAY as error:
                if not away:
                    log.warning("the ledger's database is away; rows wait in the journal", error=str(error))
                away = True
            await asyncio.sleep(FLUSH_S)

    async def _opened(self) -> asyncpg.Pool:
        """The connections, one to write and one to ask; the first use brings the tables up to date."""
        async with self._opening:
            if self._pool is None:
                pool = await asyncpg.create_pool(
                    self._database_url, min_size=0, max_size=2, timeout=CONNECT_TIMEOUT_S, command_timeout=30
                )
                async with pool.acquire() as connection:
                    await migrate(connection)
                self._pool = pool
            return self._pool

    async def _close(self) -> None:
        with contextlib.suppress(*AWAY):
            await self.flush()
        self._journal.close()
        if self._pool is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pool.close(), CONNECT_TIMEOUT_S)


async def _hand_over(path: Path, pool: asyncpg.Pool) -> int:
    rows = await asyncio.to_thread(read_rows, path)
    await pool.executemany(INSERT, [row.values() for row in rows])
    await asyncio.to_thread(path.unlink)
    return len(rows)


class NoLedger:
    """Stands in where no database is configured."""

    def record(self, row: LedgerRow) -> None:
        """Keep nothing."""

    async def database_state(self) -> DatabaseState:
        """There is none."""
        return "not configured"
