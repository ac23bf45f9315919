"""The newest events in memory, each with an id that also tells another process's ids from ours."""

import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, replace

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
