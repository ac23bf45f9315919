"""The operations view on an API that wants keys, with a worker, a queue and a ledger behind it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from app.auth.keys import Scope
from app.settings import Settings
from tests.dashboards.conftest import Api, page_server, visiting
from tests.support.build_keys import a_key, as_setting
from tests.support.live import MemorySource, serving, settings_for

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
PARTS = ("Artifacts and parts", "Models", "Workers", "Queue", "Drift of the features", "Quality by model version")
READER = (Scope.READ, Scope.PREDICT)


@dataclass(frozen=True)
class Guarded:
    """An API that wants keys, and two of them."""

    api: Api
    settings: Settings
    monitor: str
    reader: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    world: Path, redis_url: str, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    (monitor, monitor_key), (reader, reader_key) = a_key(*READER, Scope.MONITOR), a_key(*READER)
    settings = settings_for(redis_url)
    env = {
        "REDIS_URL": redis_url,
        "QUEUE_NAME": settings.queue_name,
        "DATABASE_URL": postgres_url,
        "API_KEYS": as_setting(monitor_key, reader_key),
    }
    api = Api(world, tmp_path_factory.mktemp("guarded") / "log", key=monitor, **env)
    await api.start()
    async with serving(settings, MemorySource()):
        yield Guarded(api, settings, monitor, reader)
    api.stop()


async def test_a_key_that_may_monitor_sees_every_part(guarded: Guarded, browser: Browser) -> None:
    (worker,) = (await guarded.api.ask("/monitoring/arq/workers"))["items"]
    async with (
        page_server(guarded.api.url, key=guarded.monitor) as site,
        visiting(browser, site, viewport={"width": 1440, "height": 900}) as visit,
    ):
        page = await visit.open("?view=operations")
        parts = {name: page.get_by_role("region", name=name) for name in PARTS}
        await expect(parts["Workers"]).to_contain_text(f"{worker['host']} · {worker['pid']}")
        await expect(parts["Workers"]).to_contain_text("champion v1")
        await expect(parts["Models"].get_by_role("row")).to_have_count(2)
        await expect(parts["Models"]).to_contain_text("champion")
        await expect(parts["Queue"]).to_contain_text(guarded.settings.queue_name)
        await expect(parts["Drift of the features"]).to_contain_text("stable")
        await expect(parts["Quality by model version"]).to_contain_text("No live prediction has a result")
        await expect(parts["Artifacts and parts"]).to_contain_text("snapshot")
        await expect(page.get_by_text("Not shown")).to_have_count(0)
        async with page.context.expect_page() as opened:
            await parts["Drift of the features"].get_by_role("link", name="Open the report").click()
        await expect((await opened.value).locator("p")).to_have_text("stable")


async def test_a_key_that_may_not_is_told_which_it_needs(guarded: Guarded, browser: Browser) -> None:
    """And everything else on the page goes on."""
    async with (
        page_server(guarded.api.url, key=guarded.reader) as site,
        visiting(browser, site, viewport={"width": 1440, "height": 900}) as visit,
    ):
        page = await visit.open("?view=operations")
        for name in ("Workers", "Queue", "Drift of the features", "Quality by model version"):
            part = page.get_by_role("region", name=name)
            await expect(part).to_contain_text("lacks the scope monitor")
            await expect(part).to_contain_text("needs an API key with the scope “monitor” (setting API_KEY)")
        await expect(page.get_by_role("region", name="Artifacts and parts")).to_contain_text("snapshot")
        assert guarded.reader not in await page.content()
        await page.get_by_role("button", name="Matches", exact=True).click()
        await expect(page.locator(".row").first).to_be_visible()


async def test_without_a_key_the_page_says_what_it_lacks(guarded: Guarded, browser: Browser) -> None:
    async with (
        page_server(guarded.api.url) as site,
        visiting(browser, site, viewport={"width": 1440, "height": 900}) as visit,
    ):
        page = await visit.open()
        await expect(page.locator(".state")).to_contain_text("API key")
