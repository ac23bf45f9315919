import asyncio

import pytest

from app.store.lru import RefCountedCache


class Workshop:
    """Makes and drops things, and remembers which."""

    def __init__(self, limit: int = 10) -> None:
        self.kept = RefCountedCache[str](limit, len)
        self.made: list[str] = []
        self.dropped: list[str] = []

    async def make(self, thing: str) -> str:
        await asyncio.sleep(0)
        self.made.append(thing)
        return thing

    async def drop(self, thing: str) -> None:
        self.dropped.append(thing)

    async def use(self, thing: str) -> str:
        async with self.kept.acquire(thing, lambda: self.make(thing), self.drop) as found:
            return found


async def test_a_thing_is_made_once() -> None:
    shop = Workshop()
    assert await asyncio.gather(*(shop.use("abc") for _ in range(5))) == ["abc"] * 5
    assert shop.made == ["abc"]


async def test_the_least_lately_used_makes_room() -> None:
    shop = Workshop()
    for thing in ("aaaa", "bbbb", "aaaa", "cccc"):
        await shop.use(thing)
    assert shop.dropped == ["bbbb"]
    assert len(shop.kept) == 2


async def test_what_is_in_use_is_not_dropped() -> None:
    shop = Workshop()
    async with shop.kept.acquire("aaaa", lambda: shop.make("aaaa"), shop.drop):
        await shop.use("bbbbbbbb")
        assert shop.dropped == []
    await shop.use("cccc")
    assert shop.dropped == ["aaaa", "bbbbbbbb"]


async def test_what_could_not_be_made_is_tried_again() -> None:
    shop = Workshop()

    async def fail() -> str:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        async with shop.kept.acquire("abc", fail, shop.drop):
            pass
    assert len(shop.kept) == 0
    assert await shop.use("abc") == "abc"


async def test_one_larger_than_the_limit_is_kept_alone() -> None:
    shop = Workshop(limit=2)
    await shop.use("abc")
    await shop.use("abc")
    assert shop.made == ["abc"]
    await shop.use("defg")
    assert shop.dropped == ["abc"]
