"""The change feed of the match page: one subscription for all its sessions."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from app.client import ApiFailure, ApiSession
from app.client.change_events import open_events

SETTLE_S = 0.05  # a new snapshot brings several events at once; they make one change
RETRY_S = (1.0, 10.0)  # first and longest pause between attempts
log = logging.getLogger(__name__)


class ChangeListener(Protocol):
    """Receiver of change notifications."""

    async def renew(self) -> None:
        """Load again: data changed, or the feed was lost or restored."""


class ChangeFeed:
    """One subscription to the change feed for all sessions; holds them weakly."""

    def __init__(self, client: ApiSession, *, on_change: Callable[[], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._listeners: WeakSet[ChangeListener] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: asyncio.TimerHandle | None = None
        self._last_id: str | None = None
        self.is_live = False

    def subscribe(self, listener: ChangeListener) -> None:
        """Notify this listener for as long as it exists."""
        self._listeners.add(listener)

    async def follow(self) -> None:
        """Follow the feed until cancelled; resume a broken connection at the last event."""
        pause_s = RETRY_S[0]
        while True:
            try:
                await self._listen()
                pause_s = RETRY_S[0]
            except ApiFailure as failure:
                log.debug("feed.unreachable reason=%s", failure.reason)
            was_live, self.is_live = self.is_live, False
            if was_live:
                pause_s = RETRY_S[0]
                self._schedule_notify()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  not all replicas at once
            pause_s = min(2 * pause_s, RETRY_S[1])

    async def _listen(self) -> None:
        async with open_events(self._client, self._last_id) as events:
            self.is_live = True
            self._schedule_notify()
            async for event in events:
                self._last_id = event.id or self._last_id
                self._schedule_notify()

    def _schedule_notify(self) -> None:
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(SETTLE_S, self._notify)

    def _notify(self) -> None:
        self._pending = None
        self._on_change()
        for listener in list(self._listeners):
            task = asyncio.create_task(listener.renew())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
