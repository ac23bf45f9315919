"""The same work asked for by several at once is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    """Work under way and how many wait for it."""

    task: asyncio.Task[Any]
    waiting: int = 0


class Flights:
    """Work under way, by what it is for."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def join(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
        """What `start` gives, or fails with; it is stopped when the last who waits for it goes away."""
        flight = self._flights.get(key) or self._begin(key, start)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    def _begin(self, key: Hashable, start: Callable[[], Awaitable[Any]]) -> _Flight:
        async def work() -> Any:
            return await start()

        flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        flight.task.add_done_callback(lambda _: self._landed(key, flight))
        return flight

    def _landed(self, key: Hashable, flight: _Flight) -> None:
        self._forget(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # seen, even when nobody waits any more

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
