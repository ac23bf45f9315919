"""The views beside the list: performance and operations."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, expect

from tests.dashboards.conftest import Api, Visit, visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

BERLIN = ZoneInfo("Europe/Berlin")
# pairs of labels of one picture whose boxes share more than a pixel
OVERLAPS = """all => all.flatMap(svg => {
  const labels = [...svg.querySelectorAll("text")].map(el => [el.textContent, el.getBoundingClientRect()])
  const common = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low])
  const overlap = ([, a], [, b]) => common(a, b, "left", "right") > 1 && common(a, b, "top", "bottom") > 3
  return labels.flatMap((a, i) => labels.slice(i + 1).filter(b => overlap(a, b)).map(b => `${a[0]} | ${b[0]}`))
})"""
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


async def test_performance_of_a_period_is_of_this_period_whatever_the_status(api: Api, visit: Visit) -> None:
    begin = (datetime.now(BERLIN) - timedelta(days=29)).replace(hour=0, minute=0, second=0, microsecond=0)
    since = begin.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    within = await api.ask("/predict/performance/", status="finished", **{"from": since})
    ever = await api.ask("/predict/performance/", status="finished")
    assert 0 < within["n_bets"] < ever["n_bets"]
    for query in ("?period=last30&view=performance", "?period=last30&status=finished&view=performance"):
        page = await visit.open(query)
        await expect(page.locator(".chart.wide figcaption")).to_contain_text(f"{within['n_bets']} bets made ")


async def test_performance_of_a_period_to_come_offers_the_finished_matches(visit: Visit) -> None:
    page = await visit.open("?period=next7&view=performance")
    await expect(page.locator(".state")).to_contain_text("still to come")
    await page.get_by_role("button", name="Show all finished matches").click()
    await expect(page.locator(".chart.wide figcaption")).to_contain_text("bets made")
    await expect(page).to_have_url(f"{visit.site}/?status=finished&view=performance")


@pytest.mark.parametrize("width", [390, 768, 1440])
async def test_no_two_labels_of_a_chart_overlap(browser: Browser, site: str, width: int) -> None:
    async with visiting(browser, site, viewport={"width": width, "height": 900}) as visit:
        page = await visit.open("?status=finished&view=performance")
        await expect(page.locator(".chart svg")).to_have_count(len(CHARTS))
        assert await page.locator(".chart svg").evaluate_all(OVERLAPS) == []
        edges = page.locator(".chart", has=page.get_by_role("heading", name="Edges", exact=True))
        await expect(edges.locator("text", has_text="≥ +50%")).to_have_count(1)  # all beyond is in this bar
