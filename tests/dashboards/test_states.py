import asyncio
import sys
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from app.settings import Settings
from dashboards.server import PortInUse, open_server
from infra.local.children import Child, Command
from tests.dashboards.conftest import Api, boards, page_server, visiting
from tests.dashboards.serving import unused_port
from tests.dashboards.world import write_world

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

ANSWERED = "new Promise(resolve => setTimeout(resolve, 500))"
TICK = "document.dispatchEvent(new Event('visibilitychange'))"


async def test_without_the_api_the_page_says_so_and_can_try_again(
    browser: Browser, world: Path, tmp_path: Path
) -> None:
    api = Api(world, tmp_path / "log")
    async with page_server(api.url) as site, visiting(browser, site) as visit:
        page = await visit.open()
        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text("The matches could not be loaded")
        text = await page.locator(".touchline").inner_text()
        assert "127.0.0.1" not in text
        assert "Error" not in text
        await page.get_by_role("button", name="Try again").click()
        await expect(alert).to_be_visible()
        await api.start()
        try:
            # the feed is there again, and the page with it: nobody has to click
            await expect(page.locator(".row").first).to_be_visible(timeout=60_000)
            await expect(alert).to_have_count(0)
        finally:
            api.stop()


async def test_when_the_api_goes_away_old_matches_stay_with_their_age(
    browser: Browser, world: Path, tmp_path: Path
) -> None:
    api = Api(world, tmp_path / "log")
    await api.start()
    try:
        async with page_server(api.url, ttl_s=0) as site, visiting(browser, site) as visit:
            page = await visit.open()
            api.stop()
            await page.evaluate(TICK)
            notice = page.locator('[data-notice="cached"]')
            await expect(notice).to_contain_text("Showing matches as of")
            # the feed's end and a visitor's return may share one failure: the second to hear of it takes nothing back
            await asyncio.gather(*(board.renew() for board in boards() for _ in range(2)))
            await page.evaluate(ANSWERED)
            await expect(notice).to_contain_text("cannot be reached")
            await expect(page.locator(".row").first).to_be_visible()
            await notice.get_by_role("button", name="Try again").click()
            await expect(notice).to_be_visible()
            await page.evaluate("scrollTo(0, 600)")
            await expect(page.locator(".live-state")).to_have_text("not updating")
            await expect(page.locator(".live-state")).to_be_in_viewport()
            await api.start()
            await expect(notice).to_have_count(0, timeout=60_000)
            await expect(page.locator(".live-state")).to_have_text("connected", timeout=60_000)
    finally:
        api.stop()


async def test_each_view_says_what_it_shows_and_of_when_while_the_api_is_away(
    browser: Browser, world: Path, tmp_path: Path
) -> None:
    api = Api(world, tmp_path / "log")
    await api.start()
    try:
        async with page_server(api.url, ttl_s=0) as site, visiting(browser, site) as visit:
            await visit.open("?view=operations")
            await visit.open("?status=finished&view=performance")
            api.stop()
            page = await visit.open("?status=finished&view=performance")
            await expect(page.locator('[data-notice="cached"]')).to_contain_text("Showing charts as of")
            await page.get_by_role("button", name="Operations").click()
            await expect(page.locator('[data-notice="cached"]')).to_have_count(0)
            part = page.get_by_role("region", name="Artifacts and parts")
            await expect(part).to_contain_text("As of ")
            await expect(part).to_contain_text("cannot be reached")
            await page.get_by_role("button", name="Matches", exact=True).click()
            state = page.get_by_role("alert")
            await expect(state).to_contain_text("The matches could not be loaded")
            assert "unreachable" not in await state.inner_text()  # no code of a program
    finally:
        api.stop()


async def test_new_artifacts_change_the_numbers_in_place(browser: Browser, tmp_path: Path) -> None:
    """The feed tells: nothing is clicked, and place, filter, open match and focus stay."""
    folder = write_world(tmp_path / "artifacts", seed=1)
    api = Api(folder, tmp_path / "log", ARTIFACT_POLL_S="0.2")
    await api.start()
    try:
        async with page_server(api.url) as site, visiting(browser, site) as visit:
            page = await visit.open("?status=all&sort=-time")
            await page.locator(".row .teams").nth(5).click()
            await expect(page.locator(".detail")).to_be_visible()
            identity = await page.locator(".row.is-open").get_attribute("data-id")
            before = await page.locator(".row.is-open .tile").all_text_contents()
            await page.evaluate("scrollTo(0, 300)")
            write_world(folder, seed=2)
            await expect(page.locator(".row.is-new").first).to_be_visible(timeout=30_000)
            await expect(page.locator(".odds.moved").first).to_be_attached()
            await expect(page.locator(".live-state")).to_contain_text("changed at")
            opened = page.locator(f'.row.is-open[data-id="{identity}"]')
            assert await opened.locator(".tile").all_text_contents() != before
            assert await opened.locator(".teams").evaluate("el => el === el.getRootNode().activeElement")
            await expect(page.locator(".detail")).to_be_visible()
            assert await page.evaluate("scrollY") == 300
    finally:
        api.stop()


async def test_a_port_in_use_is_one_sentence(api: Api) -> None:
    settings = Settings(dashboard_port=api.port, _env_file=None)  # type: ignore[call-arg]  # pydantic's own
    with pytest.raises(PortInUse, match=f"Port {api.port} on 127.0.0.1 is in use"):
        async with open_server(settings):
            pass


async def test_the_program_stops_on_a_signal_and_open_windows_say_so(
    api: Api, browser: Browser, tmp_path: Path
) -> None:
    port = unused_port()
    site = f"http://127.0.0.1:{port}"
    env = {"DASHBOARD_PORT": str(port), "API_URL": api.url}
    child = Child(Command("page", [sys.executable, "-m", "dashboards"], log=tmp_path / "log", env=env))
    try:
        await answers(site)
        assert f"Match page on {site}, API at {api.url}" in child.log_tail(50)
        async with visiting(browser, site) as visit:
            page = await visit.open()
            child.ask_to_stop()
            await asyncio.to_thread(child.wait, 10)
            assert child.exit_code == 0, child.log_tail(20)
            notice = page.locator('[data-notice="disconnected"]')
            await expect(notice).to_contain_text("connection to this page's server is lost")
            await expect(notice.get_by_role("button", name="Reload")).to_be_visible()
            await expect(page.locator(".live-state")).to_have_text("not updating")
            await expect(page.locator(".row").first).to_be_visible()
    finally:
        child.stop()


async def answers(url: str) -> None:
    """Wait until a server is there."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    assert response.status == 200
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
