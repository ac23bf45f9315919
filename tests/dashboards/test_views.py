"""The views beside the list: performance and operations."""

import re

import pytest
from playwright.async_api import expect

from tests.dashboards.conftest import Api, Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]

CHARTS = (
    "Profit over time",
    "Calibration",
    "ROI by region",
    "ROI by expected edge",
    "Edges",
    "Model and market",
    "Closing-line value",
)


async def test_every_chart_says_in_words_what_it_shows(api: Api, visit: Visit) -> None:
    found = await api.ask("/predict/performance/", status="finished")
    page = await visit.open("?status=finished&view=performance")
    await expect(page.locator(".chart h3")).to_have_text(CHARTS)
    await expect(page.locator(".chart svg")).to_have_count(len(CHARTS))
    for title in CHARTS:
        chart = page.locator(".chart", has=page.get_by_role("heading", name=title, exact=True))
        said = await chart.locator("figcaption p").inner_text()
        await expect(chart.locator("svg")).to_have_attribute("aria-label", re.compile(re.escape(f"{title}. ")))
        assert re.search(r"\d", said), title
        assert "NaN" not in await chart.locator("svg").evaluate("svg => svg.outerHTML")
    profit = page.locator(".chart.wide")
    await expect(profit.locator("figcaption")).to_contain_text(f"{found['n_bets']} bets made ")
    await expect(page.locator(".chart .dot")).to_have_count(len(found["reliability"]))
    await profit.locator("summary").click()
    await expect(profit.locator("tbody tr").last).to_contain_text(f"{found['n_bets']}")


async def test_charts_follow_the_filter_and_the_view_stays_in_the_address(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.get_by_role("button", name="Performance").click()
    await expect(page).to_have_url(re.compile("view=performance"))
    await page.select_option("#region", "Italy")
    n_bets = (await api.ask("/predict/performance/", status="finished", region="Italy"))["n_bets"]
    await expect(page.locator(".chart.wide figcaption")).to_contain_text(f"{n_bets} bets made ")
    await page.reload()
    await expect(page.locator(".chart.wide figcaption")).to_contain_text(f"{n_bets} bets made ")
    await page.go_back()
    await expect(page.locator("#region")).to_have_value("")
    await page.get_by_role("button", name="Matches", exact=True).click()
    await expect(page.locator(".row").first).to_be_visible()


async def test_kelly_stakes_change_the_results_and_are_in_the_address(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.locator("[data-stake=kelly]").click()
    roi = await api.ask("/predict/roi/", status="finished", staking="kelly")
    await expect(page.locator(".results .roi .value")).to_have_text(f"{roi['roi_pct']:+.1f}%".replace("-", "−"))
    await expect(page.locator(".results")).to_contain_text("of bankroll")
    await expect(page).to_have_url(f"{visit.site}/?status=finished&stake=kelly")
    await page.get_by_role("button", name="Reset filters").click()
    await expect(page).to_have_url(f"{visit.site}/?stake=kelly")


async def test_charts_of_nothing_say_so(visit: Visit) -> None:
    page = await visit.open("?view=performance&q=nobody+is+called+so")
    await expect(page.locator(".chart")).to_have_count(len(CHARTS))
    await expect(page.locator(".chart svg")).to_have_count(0)
    await expect(page.locator(".performance")).to_contain_text("there is no curve yet")


async def test_operations_show_what_answers_and_say_what_does_not(visit: Visit) -> None:
    page = await visit.open("?view=operations")
    drift = page.get_by_role("region", name="Drift of the features")
    await expect(drift).to_contain_text("stable")
    # this API has no Redis
    await expect(page.get_by_role("region", name="Workers")).to_contain_text("Not available")
    await expect(page.get_by_role("region", name="Artifacts and parts")).to_contain_text("snapshot")
    await expect(page.locator("#region")).not_to_be_visible()
    async with page.context.expect_page() as opened:
        await drift.get_by_role("link", name="Open the report").click()
    await expect((await opened.value).locator("p")).to_have_text("stable")
