"""The door to DuckDB: deadlines, interrupts, and few queries at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from threading import Semaphore

import pytest

from app.errors import QueryTimeout
from app.store.lake import Connection, Lake, connect

SLOW = "SELECT count(*) FROM range(100000000) a, range(1000) b WHERE (a.range * b.range) % 7 = 3"


@pytest.fixture
async def lake() -> AsyncIterator[Lake]:
    """A small database."""
    lake = Lake(connect(threads=1), concurrency=2, timeout_s=5)
    yield lake
    await asyncio.to_thread(lake.close)


async def test_query_past_its_deadline_is_interrupted(lake: Lake) -> None:
    started = time.perf_counter()
    with pytest.raises(QueryTimeout, match=r"0\.3 s"):
        await lake.fetch(SLOW, timeout_s=0.3)
    assert time.perf_counter() - started < 2


async def test_interrupt_leaves_the_neighbour_alone(lake: Lake) -> None:
    slow = asyncio.create_task(lake.fetch("SELECT count(*) FROM range(300000000)"))
    with pytest.raises(QueryTimeout):
        await lake.fetch(SLOW, timeout_s=0.1)
    assert await slow == [(300_000_000,)]


async def test_caller_who_goes_away_stops_the_query(lake: Lake) -> None:
    """Both threads are free again, where the queries alone would have kept them for hours."""
    begun = Semaphore(0)

    def slow(cursor: Connection) -> None:
        begun.release()
        cursor.execute(SLOW)

    asking = [asyncio.create_task(lake.run(slow)) for _ in range(2)]
    for _ in asking:
        assert await asyncio.to_thread(begun.acquire, timeout=4)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert await lake.fetch("SELECT ?", [7], timeout_s=8) == [(7,)]


async def test_wait_for_a_thread_counts_towards_the_deadline(lake: Lake) -> None:
    busy = [asyncio.create_task(lake.fetch(SLOW, timeout_s=0.8)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(QueryTimeout):
        await lake.fetch("SELECT 1", timeout_s=0.2)
    assert all(isinstance(end, QueryTimeout) for end in await asyncio.gather(*busy, return_exceptions=True))


async def test_loop_turns_while_a_query_runs(lake: Lake) -> None:
    asking = asyncio.create_task(lake.fetch(SLOW, timeout_s=0.5))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 20
    with pytest.raises(QueryTimeout):
        await asking


async def test_error_in_a_query_is_the_callers(lake: Lake) -> None:
    def fail(_: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lake.run(fail)


async def test_nothing_is_fetched_from_outside(lake: Lake) -> None:
    with pytest.raises(Exception, match="extension"):
        await lake.fetch("SELECT * FROM read_parquet('https://example.org/x.parquet')")
