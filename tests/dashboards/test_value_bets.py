"""The table of value bets: the API's own value bets, sorted and filtered by the reader, with mouse and keys."""

import re

import pytest
from playwright.async_api import Page, expect

from tests.dashboards.conftest import Api, Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

AT_MOST = """most => {
  const inside = root =>
    [...root.querySelectorAll("*")].flatMap(el => [el, ...(el.shadowRoot ? inside(el.shadowRoot) : [])])
  const cells = inside(document).filter(el => el.matches('.tabulator-cell[tabulator-field="Odds"]'))
  return cells.length && cells.every(el => Number(el.textContent) <= most)
}"""
SIGNS = {"home": "1", "draw": "X", "away": "2"}


async def read_column(page: Page, name: str) -> list[str]:
    cells = page.locator(f'.tabulator-row .tabulator-cell[tabulator-field="{name}"]')
    return [text.strip() for text in await cells.all_inner_texts()]


async def open_table(visit: Visit, query: str) -> Page:
    page = await visit.open(query)
    await expect(page.locator(".tabulator-row").first).to_be_visible()
    return page


async def test_the_table_has_the_value_bets_of_the_filter(api: Api, visit: Visit) -> None:
    cards = await api.ask(
        "/predict/cards/", status="finished", region="Italy", value="true", sort="-edge", limit="1000"
    )
    page = await open_table(visit, "?view=value&status=finished&region=Italy")
    await expect(page.locator(".scope")).to_contain_text(f"{cards['total']} value bets among the matches")
    first = cards["items"][0]
    row = page.locator(".tabulator-row").first
    await expect(row).to_contain_text(f"{first['home_team']} – {first['away_team']}")
    money = first["money"]
    await expect(row).to_contain_text(money["best_bookmaker"][money["best_outcome"]] or money["bookmaker"])
    edges = [100 * card["money"]["best_edge"] for card in cards["items"]]
    shown = [float(text) for text in await read_column(page, "Edge %")]
    assert shown == pytest.approx(edges[: len(shown)], abs=0.06)
    assert await read_column(page, "Bet") == [
        SIGNS[card["money"]["best_outcome"]] for card in cards["items"][: len(shown)]
    ]


async def test_a_head_sorts_by_click_and_by_key(visit: Visit) -> None:
    page = await open_table(visit, "?view=value&status=finished")
    head = page.locator('.tabulator-col[tabulator-field="Odds"]')
    await head.locator(".tabulator-col-title").click()
    await expect(head).to_have_attribute("aria-sort", "ascending")
    odds = [float(text) for text in await read_column(page, "Odds")]
    assert odds == sorted(odds)
    await head.focus()
    await page.keyboard.press("Enter")
    await expect(head).to_have_attribute("aria-sort", "descending")
    odds = [float(text) for text in await read_column(page, "Odds")]
    assert odds == sorted(odds, reverse=True)


async def test_filters_in_the_heads_narrow_the_table(visit: Visit) -> None:
    page = await open_table(visit, "?view=value&status=finished")
    await page.get_by_label("Filter Odds", exact=True).press_sequentially("3")
    await page.keyboard.press("Enter")
    await page.wait_for_function(AT_MOST, arg=3)


async def test_the_scripts_of_the_table_are_loaded_with_its_view(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    loaded = "performance.getEntriesByType('resource').filter(entry => /tabulator.min/.test(entry.name)).length"
    assert await page.evaluate(loaded) == 0
    await page.get_by_role("button", name="Value bets", exact=True).click()
    await expect(page).to_have_url(re.compile("view=value"))
    await expect(page.locator(".tabulator-row").first).to_be_visible()
    assert await page.evaluate(loaded) == 1
    await page.get_by_role("button", name="Matches", exact=True).click()
    await expect(page.locator(".row").first).to_be_visible()
    await expect(page.locator(".panes")).to_have_attribute("inert", "")
    await page.get_by_role("button", name="Value bets", exact=True).click()
    await expect(page.locator(".tabulator-row").first).to_be_visible()
    assert await page.evaluate(loaded) == 1


async def test_without_value_bets_the_page_says_so(visit: Visit) -> None:
    page = await visit.open("?view=value&q=nobody+is+called+so")
    await expect(page.locator(".state h2")).to_have_text("No matches for these filters")
    await expect(page.locator(".tabulator-row")).to_have_count(0)
