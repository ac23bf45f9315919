import asyncio
import gc
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any
from weakref import WeakSet

import aiohttp
import panel as pn
import pytest
from bokeh.document import Document
from playwright.async_api import Browser

from dashboards.views.board import Board
from infra.bench import sessions
from tests.dashboards.conftest import Api, page_server
from tests.dashboards.conftest import visiting as watching

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

N_ROUNDS, N_AT_ONCE = 20, 10  # two hundred
CLEAN_UP_TIMEOUT_S = 120.0  # a session lives on for 15 s, and is looked for every 5


async def test_closed_sessions_leave_nothing_behind(api: Api, browser: Browser) -> None:
    others = Living()  # sessions of earlier tests
    async with page_server(api.url) as site, aiohttp.ClientSession() as client:
        for _ in range(N_ROUNDS):
            await asyncio.gather(*(look(site, client) for _ in range(N_AT_ONCE)))
        for _ in range(3):
            async with watching(browser, site) as visit:
                await visit.open("?view=performance")
        for _ in range(20):  # opened and left before the socket was there
            async with client.get(site) as response:
                assert response.status == 200
        assert others.born_since()["Board"] >= 20
        ends_at = time.monotonic() + CLEAN_UP_TIMEOUT_S
        while any(others.born_since().values()) and time.monotonic() < ends_at:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(1)
        assert others.born_since() == {"Board": 0, "Template": 0, "Document": 0, "views": 0, "roots": 0}


async def look(site: str, client: aiohttp.ClientSession) -> None:
    """A session with a socket that filters, looks elsewhere and leaves."""
    async with sessions.visiting(site, client) as visitor:
        await visitor.change(status="finished")
        await visitor.change(region="Italy")


async def test_fifty_people_come_at_once_and_every_one_sees_matches(api: Api) -> None:
    async with page_server(api.url) as site, AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        opening = (stack.enter_async_context(sessions.visiting(site, client)) for _ in range(50))
        visitors = await asyncio.gather(*opening)
        took_s = await asyncio.gather(*(visitor.change(status="all") for visitor in visitors))
        assert len(took_s) == 50
        assert all(visitor.received_bytes > 10_000 for visitor in visitors)


class Living:
    """What sessions are made of and was there at some moment."""

    def __init__(self) -> None:
        self._parts = WeakSet(parts())
        self._refs = set(pn.state._views) | set(pn.state._fake_roots)

    def born_since(self) -> dict[str, int]:
        """How many of each kind are new."""
        new = Counter(type(part).__name__ for part in parts() if part not in self._parts)
        named = {"views": set(pn.state._views), "roots": set(pn.state._fake_roots)}
        counts = {name: new[name] for name in ("Board", "Template", "Document")}
        return counts | {name: len(refs - self._refs) for name, refs in named.items()}


def parts() -> list[Any]:
    """Every board, template and document there is."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in {Board, pn.Template, Document}]
