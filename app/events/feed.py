"""The change feed: the newest events in memory, its subscribers, and what each has yet to receive."""

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from app.errors import FeedFull

_ID = re.compile(r"([0-9a-f]{1,32})-([0-9]{1,18})")
_KEPT_EVENTS = 1000
_KEPT_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `data` is JSON on one line."""

    id: str
    kind: str
    data: bytes

    def encode(self) -> bytes:
        """As server-sent events write it."""
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (self.id.encode(), self.kind.encode(), self.data)


class EventLog:
    """A bounded log; ids are `epoch-number`, rising, and the epoch, which is of this process alone, rises too."""

    def __init__(self, *, kept_events: int = _KEPT_EVENTS, kept_bytes: int = _KEPT_BYTES) -> None:
        # the random end tells replicas apart that started in the same microsecond
        self._epoch = f"{time.time_ns() // 1000:x}{secrets.token_hex(2)}"
        self._events: deque[Event] = deque()
        self._size_bytes = 0
        self._last = 0
        self._kept_events = kept_events
        self._kept_bytes = kept_bytes

    @property
    def last_id(self) -> str:
        """The id of the newest event; ends in 0 before the first."""
        return f"{self._epoch}-{self._last}"

    def append(self, kind: str, data: bytes) -> Event:
        """Note a new event."""
        self._last += 1
        event = Event(self.last_id, kind, data)
        self._events.append(event)
        self._size_bytes += len(data)
        while len(self._events) > self._kept_events or self._size_bytes > self._kept_bytes:
            self._size_bytes -= len(self._events.popleft().data)
        return event

    def as_newest(self, event: Event) -> Event:
        """An older event said again: whoever has read it has read all up to now."""
        return replace(event, id=self.last_id)

    def since(self, last_id: str) -> list[Event] | None:
        """The events after that id; None when some of them are not known any more, or the id is not ours."""
        found = _ID.fullmatch(last_id)
        if found is None or found[1] != self._epoch:
            return None
        n_missed = self._last - int(found[2])
        if not 0 <= n_missed <= len(self._events):
            return None
        return list(self._events)[len(self._events) - n_missed :]


RESET = "reset"
_PENDING_EVENTS = 256  # a listener that lets so many pile up is dropped; it may come back and catch up
_RETRY_AFTER_S = 10.0


class Subscription:
    """The events that one listener has yet to get; `on_drop` is called when it is too slow to be waited for."""

    def __init__(self, backlog: list[Event], on_drop: Callable[[], None], caller: str | None = None) -> None:
        self.caller = caller
        self._pending = backlog
        self._on_drop = on_drop
        self._woken = asyncio.Event()
        self._is_over = False
        if backlog:
            self._woken.set()

    def put(self, event: Event) -> bool:
        """Keep an event for the listener; false when too many wait, and it is dropped."""
        if len(self._pending) >= _PENDING_EVENTS:
            self.end()
            self._on_drop()
            return False
        self._pending.append(event)
        self._woken.set()
        return True

    def end(self) -> None:
        """Nothing more comes."""
        self._is_over = True
        self._woken.set()

    async def take(self, timeout_s: float) -> list[Event] | None:
        """All that waits; empty when nothing came in that time, None when nothing more comes."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return []
        if self._is_over:
            return None
        self._woken.clear()
        taken, self._pending = self._pending, []
        return taken


class Feed:
    """Tells every listener every event; lives on the event loop and never waits."""

    def __init__(self, *, limit: int, log: EventLog | None = None) -> None:
        self._limit = limit
        self._log = log or EventLog()
        self._listeners: set[Subscription] = set()
        self._state: dict[str, Event] = {}
        self._is_closed = False
        self.n_dropped = 0

    @property
    def n_listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(self, kind: str, data: bytes, *, state: str | None = None) -> None:
        """Tell everybody; the newest event of each `state` is also told to whoever comes new."""
        event = self._log.append(kind, data)
        if state is not None:
            self._state[state] = event
        for listener in list(self._listeners):
            if not listener.put(event):
                self._listeners.discard(listener)
                self.n_dropped += 1

    @contextmanager
    def listen(
        self, last_id: str | None, on_drop: Callable[[], None], *, caller: str | None = None
    ) -> Iterator[Subscription]:
        """Listen from where `last_id` left off; from the present state without one.

        FeedFull when too many listen, or when one caller has half of all places: the others are to find one too.
        """
        self._admit(caller)
        listener = Subscription(self._backlog(last_id), on_drop, caller)
        if self._is_closed:
            listener.end()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    def close(self) -> None:
        """End every listening, also that of whoever comes later."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end()

    def _admit(self, caller: str | None) -> None:
        if len(self._listeners) >= self._limit:
            raise FeedFull(f"{self._limit} clients listen already.", retry_after_s=_RETRY_AFTER_S)
        n_own = sum(listener.caller == caller for listener in self._listeners) if caller is not None else 0
        if n_own >= max(1, self._limit // 2):
            raise FeedFull(f"{n_own} clients of this caller listen already.", retry_after_s=_RETRY_AFTER_S)

    def _backlog(self, last_id: str | None) -> list[Event]:
        missed = self._log.since(last_id) if last_id else None
        if missed is not None:
            return missed
        present = [self._log.as_newest(event) for event in self._state.values()]
        if last_id is None:
            return present
        return [Event(self._log.last_id, RESET, b'{"reason":"the events since then are not known any more"}'), *present]
