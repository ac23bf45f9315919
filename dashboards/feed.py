"""The change feed of the API: one connection a process, told to every session that is open."""

import asyncio
import logging
import random
from typing import Protocol
from weakref import WeakSet

from dashboards.client import ApiClient, ApiFailure
from dashboards.store import Store

SETTLE_S = 0.05  # a new snapshot brings several events at once; they make one change
RETRY_S = (1.0, 10.0)  # first and longest pause between attempts
log = logging.getLogger(__name__)


class Reader(Protocol):
    """Who wants to know of changes."""

    async def renew(self) -> None:
        """Something has changed, or the feed has come or gone."""


class Feed:
    """Follows the API for all sessions of the process; holds no session alive."""

    def __init__(self, client: ApiClient, store: Store) -> None:
        self._client = client
        self._store = store
        self._readers: WeakSet[Reader] = WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: asyncio.TimerHandle | None = None
        self._last_id: str | None = None
        self.is_live = False

    def join(self, reader: Reader) -> None:
        """Tell this one of changes for as long as it exists."""
        self._readers.add(reader)

    async def follow(self) -> None:
        """Listen until cancelled; a broken connection is taken up where it was left."""
        pause_s = RETRY_S[0]
        while True:
            try:
                await self._listen()
                pause_s = RETRY_S[0]
            except ApiFailure as failure:
                log.debug("no change feed: %s", failure.reason)
            was_live, self.is_live = self.is_live, False
            if was_live:
                pause_s = RETRY_S[0]
                self._tell_soon()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  not all replicas at once
            pause_s = min(2 * pause_s, RETRY_S[1])

    async def _listen(self) -> None:
        async with self._client.events(self._last_id) as events:
            self.is_live = True
            self._tell_soon()
            async for event in events:
                self._last_id = event.id or self._last_id
                self._tell_soon()

    def _tell_soon(self) -> None:
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(SETTLE_S, self._tell)

    def _tell(self) -> None:
        self._pending = None
        self._store.expire()
        for reader in list(self._readers):
            task = asyncio.create_task(reader.renew())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
