"""Write into the ledger what the queue holds for it: shadow predictions, and answers that no request waited for."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid5

import structlog

from app.ledger.database import AWAY
from app.ledger.ledger import Ledger, NoLedger
from app.ledger.rows import PredictionRecord, ShadowRow
from app.queue.pending_results import CompletedResult, PendingResults
from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.shadow_stream import ShadowPrediction, ShadowStream, StreamEntry
from app.runtime import run_in_background
from app.settings import Settings

log = structlog.get_logger(__name__)


class LateResultRecorder:
    """Looks for answers; every process of the API may, for a question has one row whoever writes it, and how often."""

    def __init__(self, unheard: PendingResults, ledger: Ledger) -> None:
        self._unheard = unheard
        self._ledger = ledger

    async def step(self) -> bool:
        """Record some answers; whether there were any. What the journal has no room for comes again."""
        heard = await self._unheard.look()
        done = [each for each in heard if self._is_done(each)]
        await self._unheard.drop(done)
        return bool(done)

    def _is_done(self, heard: CompletedResult) -> bool:
        if heard.result is None:
            log.warning("a task has ended without an answer for the ledger", task=heard.task_id)
            return True
        try:
            question = PredictionRecord.decode(heard.about)
        except ValueError as error:
            log.warning("a question that cannot be read was dropped", task=heard.task_id, error=str(error))
            return True
        return self._ledger.record_on_disk(question.answered_later(heard.task_id, heard.result))


GROUP = "ledger"
DRAIN_S = 1.0
_NAMESPACE = UUID("8f8a3c1e-6f0e-4c0b-9f5e-2d7b1a54c7aa")  # any: what makes our ids ours


@asynccontextmanager
async def sync_ledger(settings: Settings, ledger: Ledger | NoLedger) -> AsyncIterator[None]:
    """Drain for as long as the context lasts; without a ledger all is left to bound itself."""
    if isinstance(ledger, NoLedger):
        yield
        return
    redis = connect(settings)
    try:
        names = RedisKeys(settings.queue_name)
        drain, hearing = (
            LedgerSync(ShadowStream(redis, names), ledger),
            LateResultRecorder(PendingResults(redis, names), ledger),
        )
        shadows, late = _repeat(drain.step, "shadow answers wait"), _repeat(hearing.step, "answers for the ledger wait")
        async with run_in_background(shadows), run_in_background(late):
            yield
    finally:
        await disconnect(redis)


async def _repeat(step: Callable[[], Awaitable[bool]], trouble: str) -> None:
    """Take steps for ever, at once while they find something."""
    is_away = False
    while True:
        try:
            while await step():
                is_away = False
        except (*REDIS_ERRORS, *AWAY) as error:
            # one line an outage, not one a try
            if not is_away:
                log.warning(trouble, error=str(error) or type(error).__name__)
            is_away = True
        await asyncio.sleep(DRAIN_S)


class LedgerSync:
    """One reader of the group; entries are acknowledged when the database has them."""

    def __init__(self, shadows: ShadowStream, ledger: Ledger) -> None:
        self._shadows = shadows
        self._ledger = ledger
        self._reader = f"{socket.gethostname()}:{os.getpid()}"
        self._held: list[StreamEntry] = []

    async def step(self) -> bool:
        """Store some; whether there were any. What could not be stored is held and tried again before any other."""
        if not self._held:
            await self._shadows.join(GROUP)  # again, for a Redis that has lost everything
            self._held = await self._shadows.read(GROUP, self._reader)
        await self._ledger.store_shadows([_row_of(entry.shadow) for entry in self._held])
        await self._shadows.acknowledge(GROUP, self._held)
        stored, self._held = self._held, []
        return bool(stored)


def _row_of(shadow: ShadowPrediction) -> ShadowRow:
    home, draw, away = shadow.shadow_proba
    return ShadowRow(
        id=uuid5(_NAMESPACE, "\0".join((shadow.task_id, shadow.shadow_name, shadow.shadow_version))),
        task_id=shadow.task_id,
        computed_at=shadow.computed_at,
        match_id=shadow.match_id,
        proba_home=home,
        proba_draw=draw,
        proba_away=away,
        model_name=shadow.shadow_name,
        model_version=shadow.shadow_version,
        model_alias=shadow.shadow_alias,
        model_run_id=shadow.shadow_run_id,
        answered_alias=shadow.alias,
        answered_version=shadow.model_version,
        snapshot_id=shadow.snapshot_id,
        request_id=shadow.request_id,
    )
