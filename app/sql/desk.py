"""Takes queries of strangers: finds the snapshot's databases, and has the query run where it can do no harm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from app.errors import SqlBusy
from app.settings import Settings
from app.sql.cells import Cells
from app.sql.databases import Databases
from app.sql.question import Bounds, Question
from app.store.snapshots import Snapshots

log = structlog.get_logger(__name__)
_RETRY_AFTER_S = 5.0
Making = asyncio.Task[tuple[str, dict[str, Path]]]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: from which snapshot, its bytes, and the number of its rows."""

    snapshot_id: str
    body: bytes
    n_rows: int


class Desk:
    """One desk a service."""

    def __init__(self, cells: Cells, databases: Databases, bounds: Bounds) -> None:
        self._databases = databases
        self._bounds = bounds
        self._making: set[Making] = set()
        self.cells = cells

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Keep processes ready until the end."""
        bounds = Bounds(
            timeout_s=settings.sql_timeout_s,
            max_rows=settings.sql_max_rows,
            max_bytes=settings.sql_max_mb * 2**20,
            memory_mb=settings.sql_memory_mb,
        )
        async with Cells.open(limit=settings.sql_concurrency) as cells:
            desk = cls(cells, Databases(settings.touchline_home / "cache" / "sql"), bounds)
            try:
                yield desk
            finally:
                for making in list(desk._making):
                    making.cancel()
                await asyncio.gather(*desk._making, return_exceptions=True)

    async def ask(self, snapshots: Snapshots, sql: str, media: str) -> Answered:
        """Answer from the current snapshot; SqlBusy, SqlRejected, SqlTimeout, SqlTooLarge."""
        with self.cells.turn():
            snapshot_id, databases = await self._found(snapshots, sql)
            question = Question(sql, databases, media, self._bounds)
            body, n_rows = await self.cells.run(question)
            return Answered(snapshot_id, body, n_rows)

    async def _found(self, snapshots: Snapshots, sql: str) -> tuple[str, dict[str, Path]]:
        making = asyncio.create_task(self._make(snapshots, sql))
        # it goes on when this caller does not wait: the next one finds it done
        self._making.add(making)
        making.add_done_callback(self._made)
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                return await asyncio.shield(making)
        except TimeoutError:
            raise SqlBusy("The snapshot is being made ready for SQL.", retry_after_s=_RETRY_AFTER_S) from None

    async def _make(self, snapshots: Snapshots, sql: str) -> tuple[str, dict[str, Path]]:
        async with snapshots.reading() as snapshot:
            return snapshot.id, await self._databases.of(snapshot, sql)

    def _made(self, making: Making) -> None:
        self._making.discard(making)
        if not making.cancelled() and (error := making.exception()) is not None:
            log.warning("a snapshot could not be made ready for SQL", error=type(error).__name__)
