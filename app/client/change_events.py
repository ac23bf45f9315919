"""The change feed: events as they come, and again from where they left off when the connection breaks."""

import asyncio
import random
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from pydantic import BaseModel, ValidationError

from app.client.http_session import ApiFailure, ApiSession
from app.runtime import Backoff
from app.schemas import MatchesEventOut, ModelEventOut, SnapshotEventOut

SILENCE_S = 60.0  # the feed sends a comment every 15 s by default: after this the connection is dead
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
_MEDIA = "text/event-stream"
_SCHEMAS: Mapping[str, type[BaseModel]] = {
    "snapshot": SnapshotEventOut,
    "model": ModelEventOut,
    "odds": MatchesEventOut,
    "predictions": MatchesEventOut,
}
EventData = SnapshotEventOut | ModelEventOut | MatchesEventOut


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event of the change feed: `snapshot`, `model`, `odds`, `predictions`, or `reset` when some were missed."""

    id: str
    kind: str
    text: str = ""

    @property
    def data(self) -> EventData | None:
        """What the event says; None for `reset`, and for kinds that this client does not know.

        Raises:
            ApiFailure: it says something else than its schema.
        """
        schema = _SCHEMAS.get(self.kind)
        if schema is None:
            return None
        try:
            return cast("EventData", schema.model_validate_json(self.text, extra="ignore"))
        except ValidationError as error:
            raise ApiFailure.unreadable() from error


@asynccontextmanager
async def open_events(session: ApiSession, last_id: str | None) -> AsyncIterator[AsyncIterator[FeedEvent]]:
    """Open the feed once, after the event `last_id`; enters once the service has answered.

    Raises:
        ApiFailure: the feed cannot be had, or its connection broke.
    """
    headers = {"Accept": _MEDIA} | ({"Last-Event-ID": last_id} if last_id else {})
    async with session.open_stream("/events", headers=headers, silence_s=SILENCE_S) as lines:
        yield parse_events(lines)


async def follow_events(session: ApiSession, last_id: str | None = None) -> AsyncIterator[FeedEvent]:
    """Follow the feed for ever: connect again after a break, with the id of the last event.

    Raises:
        ApiFailure: the service refuses this caller (a 4xx other than 429).
    """
    backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
    while True:
        pause_s = None
        try:
            async with open_events(session, last_id) as events:
                async for event in events:
                    backoff.reset()
                    last_id = event.id or last_id
                    yield event
        except ApiFailure as failure:
            if failure.status is not None and failure.status < 500 and failure.status != 429:
                raise
            pause_s = failure.retry_after_s
        await asyncio.sleep(pause_s or backoff.next_pause() * random.uniform(0.5, 1.0))  # noqa: S311  # not all at once


async def parse_events(lines: AsyncIterable[bytes]) -> AsyncIterator[FeedEvent]:
    """Parse server-sent events (HTML standard, section 9.2); skip comments."""
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "data" and name in fields:
            fields[name] += "\n" + value
        elif name:
            fields[name] = value
        elif not value:
            if "event" in fields:
                yield FeedEvent(fields.get("id", ""), fields["event"], fields.get("data", ""))
            fields = {}
