"""Costly things by key: each made once, kept while there is room, and never dropped while somebody uses it."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(slots=True)
class _Slot(Generic[V]):
    turn: asyncio.Lock
    users: int = 0
    value: V | None = None


class Kept(Generic[V]):
    """Things of different sizes, up to a total; the least lately used goes first."""

    def __init__(self, limit: int, size_of: Callable[[V], int]) -> None:
        self._limit = limit
        self._size_of = size_of
        self._slots: OrderedDict[Hashable, _Slot[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._slots)

    @asynccontextmanager
    async def using(
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
