"""A real API over real artifacts, the real page on it, a real browser: one of each a session, in one loop."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from app.settings import Settings
from dashboards.server import open_server
from dashboards.views.board import Board
from infra.local.children import Child, Command
from infra.tools.browser import chromium
from tests.dashboards.serving import unused_port
from tests.dashboards.watch import Watch
from tests.dashboards.world import write_world

READY_TIMEOUT_S = 180.0  # of a process that hangs; a busy machine may be slow
EXPECT_TIMEOUT_MS = 30_000


class Api:
    """The API as a process that can be stopped and started again on its port; `key` is shown where one is needed."""

    def __init__(self, artifacts: Path, log: Path, *, key: str | None = None, **env: str) -> None:
        self.port = unused_port()
        self._headers = {"X-API-Key": key} if key else {}
        self.url = f"http://127.0.0.1:{self.port}"
        env = {"REDIS_URL": "redis://127.0.0.1:1/0", "ARTIFACTS_URI": str(artifacts), **env, "APP_PORT": str(self.port)}
        self._command = Command("api", [sys.executable, "-m", "app"], log=log, env=env, stop_signal=signal.SIGKILL)
        self._child: Child | None = None

    async def start(self) -> None:
        self._child = Child(self._command)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S), aiohttp.ClientSession(headers=self._headers) as session:
                while not await self._is_ready(session):  # noqa: ASYNC110  a process gives no event
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.stop()
            pytest.fail(f"the API is not ready: {self._child.log_tail(20)}")

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/predict/cards/", params={"limit": "1"}) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    async def ask(self, path: str, **params: str) -> Any:
        async with (
            aiohttp.ClientSession(headers=self._headers) as session,
            session.get(self.url + path, params=params) as response,
        ):
            assert response.status == 200, await response.text()
            return await response.json()

    async def total(self, **params: str) -> int:
        return int((await self.ask("/predict/cards/", limit="1", **params))["total"])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts."""
    return write_world(tmp_path_factory.mktemp("world") / "artifacts")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(world: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The API that all tests read."""
    api = Api(world, tmp_path_factory.mktemp("api") / "log")
    await api.start()
    yield api
    api.stop()


@asynccontextmanager
async def page_server(api_url: str, *, ttl_s: float = 1.0, key: str | None = None) -> AsyncIterator[str]:
    """The address of a match page on an API, which it shows the key."""
    values = {"dashboard_port": 0, "api_url": api_url, "api_key": key, "_env_file": None}
    settings = Settings(**values)  # type: ignore[arg-type]  # pydantic checks them
    async with open_server(settings, ttl_s=ttl_s) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(api: Api) -> AsyncIterator[str]:
    """The address of the page that all tests open."""
    async with page_server(api.url) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser."""
    async with chromium() as browser:
        yield browser


def boards() -> list[Board]:
    """The sessions of this process, closed ones that nobody has collected yet among them."""
    return [thing for thing in gc.get_objects() if type(thing) is Board]


@dataclass
class Visit:
    """A person with a browser window."""

    page: Page
    site: str
    watch: Watch

    async def open(self, query: str = "") -> Page:
        await self.page.goto(f"{self.site}/{query}")
        await expect(self.page.locator("#shell")).to_have_count(0)  # the live page has taken over
        await expect(self.page.locator(".row, .state, .chart, .panel, .tabulator-row").first).to_be_visible()
        return self.page


@asynccontextmanager
async def visiting(browser: Browser, site: str, **options: Any) -> AsyncIterator[Visit]:
    """A window that is watched: an error, a foreign address or a dialog fails the test."""
    context = await browser.new_context(**{"locale": "en-GB", "timezone_id": "Europe/Berlin"} | options)
    page = await context.new_page()
    page.set_default_timeout(EXPECT_TIMEOUT_MS)
    watch = Watch(site)
    watch.over(page)
    try:
        yield Visit(page, site, watch)
    finally:
        await context.close()
    assert watch.verdict() == {}


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, site: str) -> AsyncIterator[Visit]:
    """A window on a desk."""
    async with visiting(browser, site, viewport={"width": 1440, "height": 900}) as visit:
        yield visit


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Two busy cores may be slow."""
    expect.set_options(timeout=EXPECT_TIMEOUT_MS)
    yield
    expect.set_options(timeout=5000)
