"""Tells the feed of new snapshots, of matches that changed, and of the workers' models."""

import structlog

from app.errors import QueryQueueFull, QueryTimeout, QueueUnavailable
from app.events.feed import Feed
from app.queue.client import QueueClient
from app.schemas import MatchesEventOut, ModelEventOut, SnapshotEventOut
from app.store.changes import ChangedMatches, find_changes
from app.store.database import DatabaseError
from app.store.snapshot import Snapshot
from app.store.snapshots import SnapshotChange

log = structlog.get_logger(__name__)
_MODELS_EVERY_S = 10.0  # a worker that died sends no news


class SnapshotPublisher:
    """Publishes which snapshot is served, and what differs in it from the one before."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def publish(self, change: SnapshotChange) -> None:
        """Publish one change."""
        new, manifest = change.new, change.new.manifest
        event = SnapshotEventOut(id=new.id, built_at=manifest.built_at, source=manifest.source, stale=change.is_stale)
        self._feed.publish("snapshot", event.model_dump_json().encode(), state="snapshot")
        if change.old is not None and change.old is not new:
            await self._publish_differences(change.old, new)

    async def _publish_differences(self, old: Snapshot, new: Snapshot) -> None:
        try:
            changes = await find_changes(old, new)
        except (DatabaseError, QueryQueueFull, QueryTimeout, OSError) as error:
            # the files of a publisher that writes over them in place; readers then look at everything anew
            log.warning("snapshots could not be compared", error=type(error).__name__)
            for what in ("odds", "predictions"):
                self._publish_matches(what, MatchesEventOut(snapshot=new.id, match_ids=[], total=None, truncated=True))
            return
        for what, changed in changes.items():
            self._publish_matches(what, _event(new, changed))

    def _publish_matches(self, what: str, event: MatchesEventOut) -> None:
        self._feed.publish(what, event.model_dump_json().encode())


def _event(new: Snapshot, changed: ChangedMatches) -> MatchesEventOut:
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
