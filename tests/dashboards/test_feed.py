"""The change feed as the page follows it: one connection, taken up where it broke, told to every session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from app.client import ApiSession
from dashboards import change_feed
from dashboards.change_feed import ChangeFeed
from dashboards.store import Store
from tests.dashboards.serving import serving
from tests.support.build_cards import a_card, a_page

WAIT_S = 10.0


class Source:
    """An API whose feed says what a test puts, and ends when it puts None."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.last_ids: list[str | None] = []
        self.n_asked = 0

    async def events(self, request: web.Request) -> web.StreamResponse:
        self.last_ids.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while (block := await self.said.get()) is not None:
            await response.write(block)
        return response

    async def cards(self, _: web.Request) -> web.Response:
        self.n_asked += 1
        return web.Response(body=a_page(a_card()).model_dump_json())

    @asynccontextmanager
    async def feed(self) -> AsyncIterator[tuple[ChangeFeed, Store]]:
        async with serving({"/events": self.events, "/predict/cards/": self.cards}) as url, ApiSession(url) as client:
            store = Store(client)
            feed = ChangeFeed(client, on_change=store.invalidate)
            following = asyncio.create_task(feed.follow())
            try:
                yield feed, store
            finally:
                following.cancel()
                await asyncio.wait([following])
                self.said.put_nowait(None)


class Reader:
    """Counts how often it was told."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[None] = asyncio.Queue()

    async def renew(self) -> None:
        self._told.put_nowait(None)

    async def told(self) -> None:
        await asyncio.wait_for(self._told.get(), WAIT_S)

    @property
    def n_more(self) -> int:
        return self._told.qsize()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_feed, "RETRY_S", (0.01, 0.05))


async def test_a_burst_of_events_is_one_change_for_every_reader() -> None:
    source, one, other = Source(), Reader(), Reader()
    async with source.feed() as (feed, store):
        feed.subscribe(one)
        feed.subscribe(other)
        await one.told()  # that the feed is there
        await other.told()
        await store.load_cards({}, sort="kickoff")
        source.said.put_nowait(b":\n\nid: e-1\nevent: snapshot\ndata: {}\n\nid: e-2\nevent: odds\ndata: {}\n\n")
        await one.told()
        await other.told()
        assert feed.is_live
        assert one.n_more == other.n_more == 0
        await store.load_cards({}, sort="kickoff")
    assert source.n_asked == 2


async def test_a_sign_of_life_is_no_change() -> None:
    source, reader = Source(), Reader()
    async with source.feed() as (feed, _):
        feed.subscribe(reader)
        await reader.told()
        source.said.put_nowait(b":\n\nretry: 2000\n\n")
        source.said.put_nowait(b"id: e-9\nevent: model\ndata: {}\n\n")
        await reader.told()
        assert reader.n_more == 0


async def test_a_broken_feed_is_told_and_taken_up_where_it_was_left() -> None:
    source, reader = Source(), Reader()
    async with source.feed() as (feed, _):
        feed.subscribe(reader)
        await reader.told()
        source.said.put_nowait(b"id: e-7\nevent: odds\ndata: {}\n\n")
        await reader.told()
        source.said.put_nowait(None)
        await reader.told()
        async with asyncio.timeout(WAIT_S):
            while source.last_ids != [None, "e-7"]:  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.01)


async def test_without_a_feed_the_page_goes_on() -> None:
    async with serving({}) as url, ApiSession(url) as client:
        feed = ChangeFeed(client, on_change=Store(client).invalidate)
        following = asyncio.create_task(feed.follow())
        done, _ = await asyncio.wait([following], timeout=0.2)
        assert not done
        assert not feed.is_live
        following.cancel()
        await asyncio.wait([following])


async def test_a_reader_that_is_gone_is_not_kept() -> None:
    source = Source()
    async with source.feed() as (feed, _):
        reader = Reader()
        feed.subscribe(reader)
        await reader.told()
        del reader
        assert len(feed._listeners) == 0
