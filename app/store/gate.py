"""How many queries run at once, and how many may wait for their turn."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter

from app.errors import QueryQueueFull


class Gate:
    """Turns at DuckDB, first come first served; one gate for all snapshots of a process.

    `running` and `waiting` are numbers of queries now, `finished` and `refused` since the start, `busy_s` the seconds
    that the finished ones took.
    """

    def __init__(self, concurrency: int = 4, queue_limit: int = 256) -> None:
        self.concurrency = concurrency
        self.queue_limit = queue_limit
        self.running = 0
        self.waiting = 0
        self.finished = 0
        self.refused = 0
        self.busy_s = 0.0
        self._turns = asyncio.Semaphore(concurrency)

    def admit(self) -> None:
        """QueryQueueFull when as many wait as may; what has begun goes on, however many have come since."""
        if self.waiting < self.queue_limit:
            return
        self.refused += 1
        detail = f"{self.waiting} queries are waiting already."
        raise QueryQueueFull(detail, retry_after_s=self._retry_after_s())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn, when it comes; one who goes away while waiting takes none."""
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        started = perf_counter()
        try:
            yield
        finally:
            self.running -= 1
            self.finished += 1
            self.busy_s += perf_counter() - started
            self._turns.release()

    def _retry_after_s(self) -> float:
        """When those who wait now will have had their turn, as fast as it went so far."""
        mean_s = self.busy_s / self.finished if self.finished else 0.0
        return max(1.0, math.ceil(self.waiting * mean_s / self.concurrency))
