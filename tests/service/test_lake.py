"""The door to DuckDB: deadlines, interrupts, and few queries at once."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Mapping
from threading import Semaphore

import pytest

from app.errors import QueryQueueFull, QueryTimeout
from app.store.database import Connection, Database, QueryLimiter, open_connection

SLOW = "SELECT count(*) FROM range(100000000) a, range(1000) b WHERE (a.range * b.range) % 7 = 3"


@pytest.fixture
async def limiter() -> QueryLimiter:
    """Two at once, three in the queue."""
    return QueryLimiter(2, 3)


@pytest.fixture
async def database(limiter: QueryLimiter) -> AsyncIterator[Database]:
    """A small database."""
    database = Database(open_connection(threads=1), limiter, timeout_s=5)
    yield database
    await asyncio.to_thread(database.close)


async def until_true(holds: Callable[[], bool]) -> None:
    """Wait for what other tasks bring about."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # nobody there to set an event
            await asyncio.sleep(0.005)


async def test_query_past_its_deadline_is_interrupted(database: Database) -> None:
    started = time.perf_counter()
    with pytest.raises(QueryTimeout, match=r"0\.3 s"):
        await database.fetch(SLOW, timeout_s=0.3)
    assert time.perf_counter() - started < 5


async def test_interrupt_leaves_the_neighbour_alone(database: Database) -> None:
    slow = asyncio.create_task(database.fetch("SELECT count(*) FROM range(300000000)"))
    with pytest.raises(QueryTimeout):
        await database.fetch(SLOW, timeout_s=0.1)
    assert await slow == [(300_000_000,)]


async def test_caller_who_goes_away_stops_the_query(database: Database) -> None:
    """Both threads are free again, where the queries alone would have kept them for hours."""
    begun = Semaphore(0)

    def slow(cursor: Connection) -> None:
        begun.release()
        cursor.execute(SLOW)

    asking = [asyncio.create_task(database.run(slow)) for _ in range(2)]
    for _ in asking:
        assert await asyncio.to_thread(begun.acquire, timeout=4)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert await database.fetch("SELECT ?", [7], timeout_s=8) == [(7,)]


async def test_query_given_up_is_no_error_nobody_handled(database: Database) -> None:
    """Asyncio would log the interrupt with a traceback, at each deadline missed and at each stop."""
    unhandled: list[Mapping[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    with pytest.raises(QueryTimeout):
        await database.fetch(SLOW, timeout_s=0.1)
    await database.fetch("SELECT 1")
    gc.collect()
    assert unhandled == []


async def test_wait_for_a_thread_counts_towards_the_deadline(database: Database) -> None:
    busy = [asyncio.create_task(database.fetch(SLOW, timeout_s=0.8)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(QueryTimeout):
        await database.fetch("SELECT 1", timeout_s=0.2)
    assert all(isinstance(end, QueryTimeout) for end in await asyncio.gather(*busy, return_exceptions=True))


class Blocker:
    """Work that occupies turns until it is told to go on."""

    def __init__(self, database: Database, n_queries: int) -> None:
        self._go_on = Semaphore(0)
        self.tasks = [asyncio.create_task(database.run(self._wait)) for _ in range(n_queries)]

    def _wait(self, _: Connection) -> None:
        self._go_on.acquire(timeout=8)

    async def release(self) -> None:
        self._go_on.release(len(self.tasks))
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_one_too_many_is_refused_and_learns_when_to_retry(database: Database, limiter: QueryLimiter) -> None:
    blocker = Blocker(database, 5)
    await until_true(lambda: (limiter.running, limiter.waiting) == (2, 3))
    with pytest.raises(QueryQueueFull, match="3 queries are waiting") as refused:
        await database.fetch("SELECT 1")
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s >= 1
    await blocker.release()
    assert await database.fetch("SELECT 1") == [(1,)]
    assert (limiter.running, limiter.waiting, limiter.refused, limiter.finished) == (0, 0, 1, 6)
    assert limiter.busy_s > 0


async def test_who_goes_away_leaves_the_queue(database: Database, limiter: QueryLimiter) -> None:
    blocker = Blocker(database, 5)
    await until_true(lambda: limiter.waiting == 3)
    blocker.tasks[-1].cancel()
    await until_true(lambda: limiter.waiting == 2)
    asking = asyncio.create_task(database.fetch("SELECT 7"))
    await blocker.release()
    assert await asking == [(7,)]


async def test_answer_that_has_begun_goes_on_however_many_wait(database: Database, limiter: QueryLimiter) -> None:
    """Only the first step can be refused: a stream is not cut because the house has filled meanwhile."""
    with database.query() as query:
        assert await query.step(lambda cursor: cursor.execute("SELECT 1").fetchall()) == [(1,)]
        blocker = Blocker(database, 5)
        await until_true(lambda: limiter.waiting == 3)
        again = asyncio.create_task(query.step(lambda cursor: cursor.execute("SELECT 2").fetchall()))
        await until_true(lambda: limiter.waiting == 4)
        await blocker.release()
        assert await again == [(2,)]


async def test_gate_of_two_databases_counts_for_both(database: Database, limiter: QueryLimiter) -> None:
    """The snapshot that goes and the one that comes share the machine."""
    other = Database(open_connection(threads=1), limiter)
    blockers = Blocker(database, 2), Blocker(other, 1)
    await until_true(lambda: (limiter.running, limiter.waiting) == (2, 1))
    for blocker in blockers:
        await blocker.release()
    await asyncio.to_thread(other.close)


async def test_loop_turns_while_a_query_runs(database: Database) -> None:
    asking = asyncio.create_task(database.fetch(SLOW, timeout_s=0.5))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.005)
        turns += 1
    assert turns > 20
    with pytest.raises(QueryTimeout):
        await asking


async def test_error_in_a_query_is_the_callers(database: Database) -> None:
    def fail(_: Connection) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(fail)


async def test_nothing_is_fetched_from_outside(database: Database) -> None:
    with pytest.raises(Exception, match="extension"):
        await database.fetch("SELECT * FROM read_parquet('https://example.org/x.parquet')")
