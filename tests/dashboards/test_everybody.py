"""The page for everybody: keyboard, contrast themes, large text, phones and tablets."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.dashboards.conftest import Api, Visit, visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
WIDTHS = (320, 390, 768, 1024, 1440, 1920)
# the element that has the focus, through all shadow roots
FOCUS = """() => {
  let el = document.activeElement
  while (el?.shadowRoot?.activeElement) el = el.shadowRoot.activeElement
  return el
}"""
BEYOND = """all => all.filter(el => el.getClientRects().length && el.getBoundingClientRect().right > innerWidth + 1)
  .map(el => el.className)"""
INSIDE = f"""() => Boolean(({FOCUS})()?.closest("dialog"))"""


async def test_the_first_match_on_a_phone_starts_within_200_px(browser: Browser, site: str) -> None:
    async with visiting(browser, site, **PHONE) as visit:
        page = await visit.open("?status=finished")
        box = await page.locator(".row").first.bounding_box()
        assert box is not None
        assert box["y"] <= 200
        await expect(page.get_by_role("heading", level=1)).to_have_text("Touchline")
        await expect(page.locator(".results")).to_be_hidden()
        summary = page.get_by_role("button", name="Results", exact=True)
        await summary.click()
        await expect(summary).to_have_attribute("aria-expanded", "true")
        await expect(page.locator(".results .card").first).to_be_visible()
        await expect(page.locator("[data-notice=simulated]")).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("query", ["?status=finished", "?view=performance&status=finished", "?view=operations"])
async def test_nothing_is_wider_than_the_window(browser: Browser, site: str, width: int, query: str) -> None:
    async with visiting(browser, site, viewport={"width": width, "height": 844}) as visit:
        page = await visit.open(query)
        if "finished" in query and "view" not in query:
            await page.locator(".row .teams").first.click()
            await expect(page.locator(".detail")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        # what cannot be scrolled to
        assert await page.locator(".toolbar > *, .bar > *, .panel, .chart").evaluate_all(BEYOND) == []


async def test_a_tablet_has_the_rows_of_a_desk(browser: Browser, site: str) -> None:
    async with visiting(browser, site, viewport={"width": 768, "height": 1024}) as visit:
        page = await visit.open("?status=finished")
        boxes = [
            await page.locator(".row").first.locator(part).first.bounding_box()
            for part in (".teams", ".tile", ".signal")
        ]
        assert all(boxes)
        middles = [box["y"] + box["height"] / 2 for box in boxes if box]
        assert max(middles) - min(middles) < 12
        assert (
            await page.locator(".row .name").evaluate_all(
                "all => all.filter(e => e.scrollWidth > e.clientWidth).length"
            )
            == 0
        )


@pytest.mark.parametrize("width", [390, 768])
async def test_the_filters_are_a_dialog_that_keeps_the_focus(browser: Browser, site: str, width: int) -> None:
    async with visiting(browser, site, viewport={"width": width, "height": 844}) as visit:
        page = await visit.open("?status=finished")
        opener = page.get_by_role("button", name="Filters", exact=True)
        await opener.click()
        dialog = page.get_by_role("dialog", name="Filters")
        await expect(dialog).to_be_visible()
        await expect(page.locator("#q")).to_be_focused()
        for _ in range(30):  # more than it has stops; the browser's own bar has the focus once a round
            await page.keyboard.press("Tab")
            assert await page.evaluate(INSIDE) or await page.evaluate(f"({FOCUS})() === document.body")
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(opener).to_be_focused()
        await opener.click()
        await dialog.get_by_label("Region", exact=True).select_option("Italy")
        await dialog.get_by_role("button", name="Show matches").click()
        await expect(page.locator(".group h3").first).to_contain_text("Italy")
        await expect(page.locator(".opener .badge")).to_have_text("1")


async def test_a_window_made_wide_has_its_filters_beside_the_list(browser: Browser, site: str) -> None:
    async with visiting(browser, site, viewport={"width": 768, "height": 844}) as visit:
        page = await visit.open()
        await page.get_by_role("button", name="Filters", exact=True).click()
        await page.set_viewport_size({"width": 1440, "height": 900})
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator(".side #q")).to_be_visible()


async def test_the_score_is_part_of_the_name_of_a_match(api: Api, visit: Visit) -> None:
    card = (await api.ask("/predict/cards/", status="finished", sort="-kickoff", limit="1"))["items"][0]
    page = await visit.open("?status=finished")
    row = page.locator(f'.row[data-id="{card["match_id"]}"]')
    parts = (card["home_team"], card["home_score"], ",", card["away_team"], card["away_score"], ": details")
    name = re.compile(r"^\s*" + r"\s*".join(re.escape(str(part)) for part in parts) + r"\s*$")
    await expect(row.get_by_role("button", name=name)).to_be_visible()


async def test_escape_closes_a_detail_and_the_focus_stays_at_the_match(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    teams = page.locator(".row .teams").first
    await teams.press("Enter")
    await page.locator(".detail button").first.focus()
    await page.keyboard.press("Escape")
    await expect(page.locator(".detail")).to_have_count(0)
    await expect(teams).to_be_focused()
    await expect(teams).to_have_attribute("aria-expanded", "false")


async def test_few_stops_lie_before_the_first_match(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    stops = 0
    while not await page.evaluate(f"Boolean(({FOCUS})()?.closest('.row'))"):
        await page.keyboard.press("Tab")
        stops += 1
        assert stops <= 14
    await page.keyboard.press("Home")
    await page.reload()
    await expect(page.locator("#shell")).to_have_count(0)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")  # "Skip to matches"
    await expect(page.locator(".row.is-active")).to_have_count(1)


@pytest.mark.parametrize("window", [PHONE, {"viewport": {"width": 1440, "height": 900}}])
async def test_words_are_defined_for_touch_and_keyboard(browser: Browser, site: str, window: dict[str, Any]) -> None:
    async with visiting(browser, site, **window) as visit:
        page = await visit.open()
        button = page.get_by_role("button", name="Definitions")
        await (button.tap() if window is PHONE else button.press("Enter"))
        definitions = page.get_by_role("dialog", name="Definitions")
        await expect(definitions).to_be_visible()
        await expect(definitions).to_be_in_viewport(ratio=1)
        for word in ("Edge", "Fair odds", "¼ Kelly", "Region ROI", "In-sample"):
            await expect(definitions.get_by_text(word, exact=True)).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(definitions).to_be_hidden()


async def test_larger_text_makes_larger_rows_that_hold_it(browser: Browser, site: str) -> None:
    async with visiting(browser, site, viewport={"width": 1440, "height": 900}) as visit:
        page = await visit.open("?status=finished")
        before = await page.locator(".row").first.bounding_box()
        session = await page.context.new_cdp_session(page)
        await session.send("Page.setFontSizes", {"fontSizes": {"standard": 24}})  # the reader's own setting
        await visit.open("?status=finished")
        after = await page.locator(".row").first.bounding_box()
        assert before is not None
        assert after is not None
        assert after["height"] == pytest.approx(before["height"] * 24 / 16, rel=0.02)
        high = "all => all.filter(e => e.scrollHeight > e.clientHeight + 2).map(e => e.className)"
        assert await page.locator(".row .teams, .row .tile:not(.result)").evaluate_all(high) == []
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def styles(name: str) -> str:
    return f"el => getComputedStyle(el).{name}"


async def style(page: Page, selector: str, name: str) -> str:
    value: str = await page.locator(selector).first.evaluate(styles(name))
    return value


async def test_a_contrast_theme_tells_what_is_chosen_and_what_is_value(browser: Browser, site: str) -> None:
    window = {"viewport": {"width": 1440, "height": 900}, "forced_colors": "active"}
    async with visiting(browser, site, **window) as visit:
        page = await visit.open("?status=all&value=1")
        for chosen, other in (
            (".segments [aria-pressed=true]", ".segments [aria-pressed=false]"),
            (".tabs [aria-current]", ".tabs :not([aria-current])"),
        ):
            assert await style(page, chosen, "backgroundColor") != await style(page, other, "backgroundColor")
        on = await style(page, ".knob", "backgroundColor")
        await page.locator("#value").press("Space")
        await expect(page.locator("#value")).not_to_be_checked()
        off = await style(page, ".knob", "backgroundColor")
        assert on != off
        assert await style(page, ".knob", "borderTopWidth") == "1px"
        assert await style(page, ".tile.value", "borderTopWidth") == "3px"
        assert await style(page, ".row .tile:not(.value)", "borderTopWidth") == "1px"
