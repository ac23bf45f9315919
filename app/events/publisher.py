"""Watches the snapshots and the workers' models, and tells the feed what changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from app.errors import QueryQueueFull, QueryTimeout, QueueUnavailable
from app.events.feed import Feed
from app.queue.client import QueueClient
from app.schemas import MatchesEventOut, ModelEventOut, SnapshotEventOut
from app.store.changes import Changed, find_changes
from app.store.database import DatabaseError
from app.store.snapshot import Snapshot
from app.store.snapshots import Snapshots

log = structlog.get_logger(__name__)
_LOOK_EVERY_S = 0.25  # two comparisons in memory
_MODELS_EVERY_S = 10.0  # a worker that died sends no news


class SnapshotWatch:
    """Holds the snapshot that was told of last, so that the next one can be compared with it."""

    def __init__(self, feed: Feed, snapshots: Snapshots) -> None:
        self._feed = feed
        self._snapshots = snapshots
        self._told: Snapshot | None = None
        self._was_stale = False
        self._hold = AsyncExitStack()

    async def follow(self) -> None:
        """Look for ever."""
        async with self._release():
            while True:
                await self._look()
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _look(self) -> None:
        current, is_stale = self._snapshots.current, self._snapshots.is_stale
        if current is not None and current is not self._told:
            await self._take_over()
        elif current is not None and is_stale != self._was_stale:
            self._tell_snapshot(current)

    async def _take_over(self) -> None:
        old, old_hold, self._hold = self._told, self._hold, AsyncExitStack()
        async with old_hold:
            self._told = new = await self._hold.enter_async_context(self._snapshots.reading())
            self._tell_snapshot(new)
            if old is not None:
                await self._tell_changes(old, new)

    def _tell_snapshot(self, snapshot: Snapshot) -> None:
        self._was_stale = stale = self._snapshots.is_stale
        manifest = snapshot.manifest
        event = SnapshotEventOut(id=snapshot.id, built_at=manifest.built_at, source=manifest.source, stale=stale)
        self._feed.publish("snapshot", event.model_dump_json().encode(), state="snapshot")

    async def _tell_changes(self, old: Snapshot, new: Snapshot) -> None:
        try:
            changes = await find_changes(old, new)
        except (DatabaseError, QueryQueueFull, QueryTimeout, OSError) as error:
            # the files of a publisher that writes over them in place; readers then look at everything anew
            log.warning("snapshots could not be compared", error=type(error).__name__)
            for what in ("odds", "predictions"):
                self._tell_matches(what, MatchesEventOut(snapshot=new.id, match_ids=[], total=None, truncated=True))
            return
        for what, changed in changes.items():
            self._tell_matches(what, _event(new, changed))

    def _tell_matches(self, what: str, event: MatchesEventOut) -> None:
        self._feed.publish(what, event.model_dump_json().encode())

    @asynccontextmanager
    async def _release(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._hold.aclose()


def _event(new: Snapshot, changed: Changed) -> MatchesEventOut:
    is_cut = changed.total > len(changed.match_ids)
    return MatchesEventOut(snapshot=new.id, match_ids=changed.match_ids, total=changed.total, truncated=is_cut)


async def follow_models(feed: Feed, queue: QueueClient) -> None:
    """Tell of every alias whose newest version changes, for ever."""
    told: dict[str, str] = {}
    while True:
        try:
            held = {model.alias: model.version for model in reversed(await queue.models())}
        except QueueUnavailable:
            held = told  # unknown is not gone
        for alias in sorted(told.keys() | held.keys()):
            if told.get(alias) != held.get(alias):
                event = ModelEventOut(alias=alias, version=held.get(alias))
                feed.publish("model", event.model_dump_json().encode(), state=f"model {alias}")
        told = held
        await queue.wait_for_news(timeout_s=_MODELS_EVERY_S)
