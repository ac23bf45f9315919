"""Settles the ledger by the results of each snapshot that is opened, off the path of any request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.errors import ServiceError
from app.ledger.database import AWAY, LedgerDatabase
from app.ledger.ledger import Ledger, NoLedger
from app.ledger.settlement import predicted_matches, settle
from app.runtime import run_in_background
from app.store.results import find_results
from app.store.snapshot import Snapshot
from app.store.snapshots import Snapshots

log = structlog.get_logger(__name__)

AGAIN_S = 3600.0  # rows that came late, from a journal that had to wait
RETRY_S = 15.0


class LedgerSettlement:
    """Settles when it is told of a snapshot, and now and then."""

    def __init__(self, snapshots: Snapshots, database: LedgerDatabase) -> None:
        self._snapshots = snapshots
        self._database = database
        self._due = asyncio.Event()

    def trigger_now(self) -> None:
        """There is a new snapshot."""
        self._due.set()

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            self._due.clear()
            pause_s = AGAIN_S
            try:
                if self._snapshots.current is not None:
                    await self.settle()
            except (ServiceError, *AWAY) as error:
                log.warning("the ledger could not be settled", error=str(error) or type(error).__name__)
                pause_s = RETRY_S
            except Exception:
                log.exception("settling the ledger failed")
            await _set_within(self._due, pause_s)

    async def settle(self) -> int:
        """Settle by the current snapshot; the number of new settlements."""
        settled = 0
        async with self._snapshots.reading() as snapshot:
            pool = await self._database.pool()
            async for match_ids in predicted_matches(pool):
                results = await find_results(snapshot, match_ids)
                settled += await settle(pool, results, snapshot.id, snapshot.manifest.built_at)
        if settled:
            log.info("ledger settled", snapshot=snapshot.id, settlements=settled)
        return settled


@asynccontextmanager
async def settle_ledger(snapshots: Snapshots, ledger: Ledger | NoLedger) -> AsyncIterator[None]:
    """Settle for as long as the context lasts."""
    if isinstance(ledger, NoLedger):
        yield
        return
    settling = LedgerSettlement(snapshots, ledger.database)

    async def on_swap(_: Snapshot | None, __: Snapshot) -> None:
        settling.trigger_now()

    snapshots.on_swap.append(on_swap)
    async with run_in_background(settling.run()):
        yield


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
