import re

import pytest
from playwright.async_api import Browser, Page, expect

from app.settings import Settings
from dashboards.server import _public_url
from tests.dashboards.conftest import Api, Visit, visiting
from tests.dashboards.world import GOOD_LINK

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


async def test_a_match_opens_with_enter_and_shows_model_beside_market(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await expect(page.locator(".row.is-active")).to_have_count(1)
    await page.keyboard.press("Enter")
    detail = page.locator(".detail")
    await expect(detail).to_be_visible()
    identity = await page.locator(".row.is-active").get_attribute("data-id")
    stored = await api.ask(f"/predict/precomputed/{identity}")
    await expect(detail.locator("tbody tr").first).to_contain_text(f"{stored['probabilities']['home']:.1%}")
    await expect(detail).to_contain_text(f"v{stored['model']['version']}")
    await expect(detail.locator("code")).to_have_text(f"curl '{api.url}/predict/{identity}?stage=champion'")
    await page.keyboard.press("Enter")
    await expect(detail).to_have_count(0)


async def test_a_match_shows_how_its_odds_moved(api: Api, visit: Visit) -> None:
    cards = (await api.ask("/predict/cards/", status="finished", sort="-kickoff", limit="9"))["items"]
    identity = next(card["match_id"] for card in cards if card["money"])
    quotes = (await api.ask(f"/predict/odds/{identity}/history"))["odds"]
    assert len(quotes) > 1
    page = await visit.open("?status=finished")
    await page.locator(f'.row[data-id="{identity}"] .teams').click()
    first, last = quotes[0]["odds"]["home"], quotes[-1]["odds"]["home"]
    await expect(page.locator(".past p")).to_contain_text(f"1 {first:.2f} → {last:.2f}")
    await expect(page.locator(".prices path")).to_have_count(3)


async def test_an_edge_to_be_checked_is_marked_in_the_row_and_in_the_detail(api: Api, visit: Visit) -> None:
    card = (await api.ask("/predict/cards/", status="finished", sort="-edge", limit="1"))["items"][0]
    assert card["money"]["best_edge"] > 0.3
    page = await visit.open("?status=finished&sort=edge")
    row = page.locator(f'.row[data-id="{card["match_id"]}"]')
    await expect(row.locator(".chip.check")).to_contain_text("check")
    await row.locator(".teams").click()
    await expect(page.locator(".detail tr.best.suspect td").nth(4)).to_contain_text("⚠ +")
    await expect(page.locator(".detail tr.best:not(.suspect)")).to_have_count(0)


@pytest.mark.parametrize(("form", "shape"), [("fractional", r"\d+/\d+"), ("american", r"[+−]\d+")])
async def test_odds_are_shown_as_people_know_them_and_that_is_kept(visit: Visit, form: str, shape: str) -> None:
    page = await visit.open("?value=1")
    odds = page.locator(".row .odds").first
    await expect(odds).to_have_text(re.compile(r"\d\.\d\d"))
    await page.select_option("#odds", form)
    await expect(odds).to_have_text(re.compile(shape))
    await page.reload()
    await expect(odds).to_have_text(re.compile(shape))


async def test_help_lists_the_keys(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("value bets only")
    await keys_move_nothing_behind_the_dialog(page)


async def test_keys_move_nothing_behind_the_sql(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.get_by_role("button", name="Show SQL").click()
    await expect(page.get_by_role("dialog").locator("code")).to_contain_text("SELECT")
    await keys_move_nothing_behind_the_dialog(page)


async def keys_move_nothing_behind_the_dialog(page: Page) -> None:
    for key in "j?v/o":
        await page.keyboard.press(key)
    await expect(page.get_by_role("dialog")).to_have_count(1)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".row.is-active")).to_have_count(0)
    await expect(page.locator("#value")).not_to_be_checked()


async def test_keys_search_and_filter_but_not_while_typing(visit: Visit) -> None:
    page = await visit.open()
    await page.keyboard.press("v")
    await expect(page.locator("#value")).to_be_checked()
    await page.keyboard.press("/")
    await page.keyboard.type("jv/k?o")
    await expect(page.locator("#q")).to_have_value("jv/k?o")
    await expect(page.locator("#value")).to_be_checked()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_key_opens_the_match_at_the_bookmaker(visit: Visit) -> None:
    """Only where there is a link to follow, and without telling the bookmaker where from."""
    page = await visit.open("?status=finished")
    await page.evaluate("() => { window.open = (...given) => { window.opened = given } }")
    await page.keyboard.press("o")
    linked = page.locator(".row.is-active .link a")
    for _ in range(20):
        await page.keyboard.press("j")
        await expect(page.locator(".row.is-active")).to_have_count(1)
        if await linked.count():
            break
        await page.keyboard.press("o")
    assert await page.evaluate("window.opened ?? null") is None
    await page.keyboard.press("o")
    assert await page.evaluate("window.opened") == [GOOD_LINK, "_blank", "noopener,noreferrer"]


async def test_a_live_prediction_that_fails_says_why(visit: Visit) -> None:
    page = await visit.open()
    await page.locator(".row .teams").nth(1).click()
    await page.locator("[data-alias=champion]").click()
    failed = page.locator(".live .failed")
    await expect(failed).to_contain_text("The champion did not answer: ")
    assert "127.0.0.1" not in await failed.inner_text()
    await expect(page.locator("[data-alias=champion]")).to_be_enabled()


async def test_dark_and_light_can_be_switched_and_are_kept(visit: Visit) -> None:
    page = await visit.open()
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(background)
    await page.get_by_role("button", name="light and dark").click()
    dark = await page.evaluate(background)
    assert light != dark
    await page.reload()
    await expect(page.locator(".row").first).to_be_visible()
    assert await page.evaluate(background) == dark


@pytest.mark.parametrize("width", [390, 768, 1024, 1280, 1920])
async def test_nothing_is_wider_than_the_window(browser: Browser, site: str, width: int) -> None:
    wide = "all => all.filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className)"
    async with visiting(browser, site, viewport={"width": width, "height": 844}) as visit:
        for query in ("?status=finished", "?sort=edge&value=1", "?q=nothing+here"):
            page = await visit.open(query)
            if await page.locator(".row .teams").count():
                await page.locator(".row .teams").first.click()
                await expect(page.locator(".detail")).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            # the body clips, so what sticks out must be looked for by name
            assert await page.locator(".bar *, .toolbar *, .row *, .detail, .state *").evaluate_all(wide) == []


async def test_on_a_phone_filters_are_in_a_drawer_and_targets_are_large(browser: Browser, site: str) -> None:
    async with visiting(browser, site, **PHONE) as visit:
        page = await visit.open()
        await expect(page.locator("#region")).not_to_be_visible()
        await page.get_by_role("button", name="Filters", exact=True).tap()
        await page.select_option("#region", "Italy")
        await page.get_by_role("button", name="Show matches").tap()
        await expect(page.locator("#region")).not_to_be_visible()
        await expect(page.locator(".badge")).to_have_text("1")
        height = "all => Math.min(...all.filter(e => e.offsetParent).map(e => e.getBoundingClientRect().height))"
        targets = page.locator(".toolbar button, .toolbar select, .icon-button, .link a")
        assert await targets.evaluate_all(height) >= 44


@pytest.mark.parametrize("view", ["performance", "operations"])
async def test_keys_do_nothing_to_what_is_not_in_sight(visit: Visit, view: str) -> None:
    page = await visit.open(f"?status=finished&view={view}")
    for key in "jko":
        await page.keyboard.press(key)
    if view == "operations":
        await page.keyboard.press("v")
        await page.keyboard.press("/")
    await page.get_by_role("button", name="Matches", exact=True).click()
    await expect(page.locator(".row").first).to_be_visible()
    await expect(page.locator(".row.is-active")).to_have_count(0)
    await expect(page.locator("#value")).not_to_be_checked()


async def test_a_page_without_a_public_address_shows_no_internal_one(api: Api) -> None:
    values = {"dashboard_port": 0, "api_url": "http://touchline-api.internal:8000", "_env_file": None}
    assert _public_url(Settings(**values)) == ""  # type: ignore[arg-type]  # pydantic checks them
    values["api_public_url"] = "https://api.example.org/"
    assert _public_url(Settings(**values)) == "https://api.example.org"  # type: ignore[arg-type]
    assert _public_url(Settings(api_url=api.url, _env_file=None)) == api.url  # type: ignore[call-arg]
