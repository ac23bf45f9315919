"""Bounded caches: single flight, reference-counted values, and counts."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Flight:
    """Work under way and how many wait for it."""

    task: asyncio.Task[Any]
    waiting: int = 0


class SingleFlight:
    """Work under way, by what it is for."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def do(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> T:
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


V = TypeVar("V")


@dataclass(slots=True)
class _Slot(Generic[V]):
    turn: asyncio.Lock
    users: int = 0
    value: V | None = None


class RefCountedCache(Generic[V]):
    """Things of different sizes, up to a total; the least lately used goes first."""

    def __init__(self, limit: int, size_of: Callable[[V], int]) -> None:
        self._limit = limit
        self._size_of = size_of
        self._slots: OrderedDict[Hashable, _Slot[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    @asynccontextmanager
    async def acquire(
        self, key: Hashable, make: Callable[[], Awaitable[V]], drop: Callable[[V], Awaitable[None]]
    ) -> AsyncIterator[V]:
        """The thing of that key, made now unless it is kept; those that ask meanwhile wait for it."""
        slot = self._slots.setdefault(key, _Slot(asyncio.Lock()))
        self._slots.move_to_end(key)
        slot.users += 1
        try:
            async with slot.turn:
                if slot.value is None:
                    slot.value = await make()
                    await self._make_room(slot, drop)
            yield slot.value
        finally:
            slot.users -= 1
            if slot.value is None and not slot.users:
                del self._slots[key]

    async def _make_room(self, made: _Slot[V], drop: Callable[[V], Awaitable[None]]) -> None:
        while self._size() > self._limit:
            idle = [key for key, slot in self._slots.items() if not slot.users and slot is not made]
            if not idle:
                return
            value = self._slots.pop(idle[0]).value
            if value is not None:
                await drop(value)

    def _size(self) -> int:
        return sum(self._size_of(slot.value) for slot in self._slots.values() if slot.value is not None)


_LIMIT = 10_000


class CountCache:
    """The newest counts by selection; a page is found without counting again."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._totals: OrderedDict[Hashable, int] = OrderedDict()

    def get(self, selection: Hashable) -> int | None:
        """Return the count, if it was made."""
        return self._totals.get(selection)

    def put(self, selection: Hashable, total: int) -> None:
        """Put a count; the oldest goes first."""
        self._totals[selection] = total
        if len(self._totals) > self._limit:
            self._totals.popitem(last=False)
