"""Looks shared by those who ask for them."""

import asyncio

import pytest

from app.store.snapshots import CoalescedRefresh


class Place:
    """Something to look at that changes; a look takes until it is let go on."""

    def __init__(self) -> None:
        self.state = 0
        self.looks = 0
        self.go_on = asyncio.Event()

    async def look(self) -> int:
        self.looks += 1
        seen = self.state
        await self.go_on.wait()
        return seen


async def asked(looks: CoalescedRefresh[int], n: int) -> "list[asyncio.Task[int]]":
    """Tasks that have asked."""
    tasks = [asyncio.create_task(looks.ask()) for _ in range(n)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_a_hundred_askers_cost_two_looks_and_none_learns_of_an_older_state() -> None:
    place = Place()
    looks = CoalescedRefresh(place.look, interval_s=0)
    first = await asked(looks, 1)
    place.state = 1
    later = await asked(looks, 100)
    place.go_on.set()
    assert await asyncio.gather(*first) == [0]
    assert set(await asyncio.gather(*later)) == {1}
    assert place.looks == 2


async def test_looks_keep_their_distance() -> None:
    place = Place()
    place.go_on.set()
    looks = CoalescedRefresh(place.look, interval_s=0.1)
    loop = asyncio.get_running_loop()
    start = loop.time()
    for _ in range(3):
        await looks.ask()
    assert loop.time() - start >= 0.2


async def test_an_asker_who_goes_away_takes_nothing_from_the_others() -> None:
    place = Place()
    looks = CoalescedRefresh(place.look, interval_s=0)
    gone, stays = await asked(looks, 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    place.go_on.set()
    assert await stays == 0


async def test_a_look_that_fails_fails_for_its_askers_and_the_next_one_is_made() -> None:
    fails = True

    async def look() -> str:
        if fails:
            raise RuntimeError("nobody foresaw this")
        return "seen"

    looks = CoalescedRefresh(look, interval_s=0)
    for task in await asked(looks, 2):
        with pytest.raises(RuntimeError):
            await task
    fails = False
    assert await looks.ask() == "seen"


async def test_closing_ends_what_is_being_done() -> None:
    place = Place()
    looks = CoalescedRefresh(place.look, interval_s=0)
    (first,) = await asked(looks, 1)
    (second,) = await asked(looks, 1)
    await looks.close()
    for task in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await task
