import asyncio
import gc
import time
from collections import Counter
from typing import Any
from weakref import WeakSet

import aiohttp
import panel as pn
import pytest
from bokeh.document import Document
from playwright.async_api import Browser

from dashboards.views.board import Board
from tests.dashboards.conftest import Api, page_server, visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

CLEAN_UP_TIMEOUT_S = 60.0  # a session lives on for 15 s, and is looked for every 5


async def test_closed_sessions_leave_nothing_behind(api: Api, browser: Browser) -> None:
    others = Living()  # sessions of earlier tests
    async with page_server(api.url) as site:
        for _ in range(8):
            async with visiting(browser, site) as visit:
                await visit.open()
        async with aiohttp.ClientSession() as session:  # opened and left before the socket was there
            for _ in range(20):
                async with session.get(site) as response:
                    assert response.status == 200
        assert others.born_since()["Board"] >= 20
        ends_at = time.monotonic() + CLEAN_UP_TIMEOUT_S
        while any(others.born_since().values()) and time.monotonic() < ends_at:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(1)
        assert others.born_since() == {"Board": 0, "Template": 0, "Document": 0, "views": 0, "roots": 0}


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
