"""The first screen: rows in the HTML before any script runs, taken over in the same places."""

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import Browser, Page, Route, expect

from dashboards import format as f
from dashboards.format import Locale
from tests.dashboards.conftest import Api, page_server, visiting
from tests.dashboards.serving import unused_port
from tests.dashboards.world import MARKUP

pytestmark = [pytest.mark.timeout(600)]
in_session = pytest.mark.asyncio(loop_scope="session")

MAX_SHIFT = 0.02
MAX_BYTES = 900_000
BARS = (".bar", ".segments", ".switch", ".fresh-line", ".notice", ".card")
PARTS = [*BARS, ".list", ".row", ".tile", ".day", ".group", ".region-roi", ".chip"]
# of what is seen: the box of every part and the text of every row
LOOK = """(root, parts) => {
  const seen = [...root.querySelectorAll(parts.join())].map(el => [el, el.getBoundingClientRect()])
    .filter(([el, box]) => box.width && box.top < innerHeight)
  // the list itself goes on below
  return seen.map(([el, box]) => `${el.className.split(" ")[0]} ${
    [box.left, box.top, box.width, el.matches(".list") ? 0 : box.height].map(Math.round)} ${
    el.matches(".row, .day, .group, .card") ? el.textContent.replace(/\\s+/g, "") : ""}`)
}"""
FONTS = """() => Promise.all([400, 700].map(weight => document.fonts.load(`${weight} 14px "Touchline Sans"`)))"""
OBSERVE = """window.shift = 0
new PerformanceObserver(list => list.getEntries().forEach(entry => (window.shift += entry.value)))
  .observe({type: "layout-shift", buffered: true})"""


async def get_html(site: str, query: str = "", **headers: str) -> str:
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{site}/{query}") as response:
        assert response.status == 200
        return await response.text()


def list_names(html: str) -> list[str]:
    return re.findall(r'<span class="name">(.*?)</span>', html)


@in_session
@pytest.mark.parametrize("query", ["", "?status=finished&sort=edge", "?status=finished&region=Italy&value=1"])
async def test_the_html_has_the_first_matches_of_any_address(api: Api, site: str, query: str) -> None:
    params = {"": {"status": "upcoming", "sort": "kickoff"}}.get(query, {"status": "finished", "sort": "-kickoff"})
    if "edge" in query:
        params["sort"] = "-edge"
    if "Italy" in query:
        params |= {"region": "Italy", "value": "true"}
    cards = (await api.ask("/predict/cards/", limit="60", **params))["items"]
    html = await get_html(site, query)
    names = list_names(html)
    assert len(names) == 52
    assert set(names) <= {name.replace("&", "&amp;") for c in cards for name in (c["home_team"], c["away_team"])} | {
        MARKUP.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    }
    assert html.index('class="name"') < html.index("bokeh.min.js")
    assert "://" not in re.sub(r"https?://(www\.w3\.org|bookmaker\.example)", "", html)


@in_session
async def test_markup_in_a_name_is_only_text_in_the_html(site: str) -> None:
    html = await get_html(site)
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


@in_session
async def test_times_are_those_of_the_reader(api: Api, site: str) -> None:
    cards = (await api.ask("/predict/cards/", status="finished", sort="-kickoff", limit="5"))["items"]
    card = next(card for card in cards if card["kickoff_known"])
    at = datetime.fromisoformat(card["kickoff_utc"])
    for zone, language, clock in (
        ("Europe/Berlin", "de-DE,de", "%H:%M"),
        ("America/New_York", "en-US", "%-I:%M %p"),
    ):
        html = await get_html(
            site,
            "?status=finished",
            Cookie=f"touchline-zone={zone.replace('/', '%2F')}",
            **{"Accept-Language": language},
        )
        expected = at.astimezone(ZoneInfo(zone)).strftime(clock)
        assert re.search(rf'data-id="{card["match_id"]}".*?data-t="\d+">{expected}<', html, re.DOTALL), zone


@in_session
@pytest.mark.parametrize("width", [390, 768, 1440, 1920])
@pytest.mark.parametrize("query", ["", "?status=finished", "?status=finished&sort=edge"])
async def test_the_live_page_takes_over_without_a_shift(browser: Browser, site: str, width: int, query: str) -> None:
    window: dict[str, Any] = {"viewport": {"width": width, "height": 900}, "timezone_id": "UTC"}
    async with visiting(browser, site, **window, reduced_motion="reduce") as visit:
        page = visit.page
        await page.add_init_script(OBSERVE)
        held: list[Route] = []
        await page.route("**/panel.min.js*", lambda route: held.append(route))  # noqa: PLW0108  a builtin is refused
        await page.goto(f"{site}/{query}", wait_until="commit")
        await expect(page.locator("#shell .row").first).to_be_visible()
        await page.evaluate(FONTS)
        before = await look(page, "#shell .touchline")
        await page.wait_for_function("performance.getEntriesByType('resource').some(e => /bokeh.min/.test(e.name))")
        while not held:
            await page.wait_for_timeout(20)
        await held[0].continue_()
        await expect(page.locator("#shell")).to_have_count(0)
        assert await look(page, ".touchline") == before
        assert sum(name.startswith("row") for name in before) >= 4
        assert await page.evaluate("window.shift") <= MAX_SHIFT


async def look(page: Page, root: str) -> list[str]:
    seen: list[str] = await page.locator(root).evaluate(LOOK, PARTS)
    # ages go on, and the live list may be one row ahead where the screen ends
    return [re.sub(r"(justnow|\d+(min|h|d)(ago|old))", "…", line) for line in seen]


@in_session
async def test_the_first_visit_sends_less_than_a_megabyte(browser: Browser, site: str) -> None:
    async with visiting(browser, site) as visit:
        session = await visit.page.context.new_cdp_session(visit.page)
        sizes: list[float] = []
        session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        await session.send("Network.enable")
        await visit.open()
        await visit.page.wait_for_load_state("networkidle")
    assert 300_000 < sum(sizes) < MAX_BYTES


@in_session
async def test_without_the_api_there_is_an_outline_and_then_the_reason() -> None:
    async with page_server(f"http://127.0.0.1:{unused_port()}") as site:
        html = await get_html(site)
    assert 'class="waiting"' in html
    assert not list_names(html)


@given(value=st.floats(-1e6, 1e6, allow_nan=False))
def test_numbers_are_rounded_half_away_from_zero_and_have_a_real_minus(value: float) -> None:
    rounded = Decimal(value).quantize(Decimal("0.1"), ROUND_HALF_UP)
    text = f.percent(value)
    assert Decimal(text.removesuffix("%").replace("−", "-").replace(",", "")) == rounded
    assert ("+" in text, "−" in text, "-" in text) == (rounded > 0, rounded < 0, False)


@pytest.mark.parametrize(
    ("header", "day", "title"),
    [
        ("en-GB,en;q=0.9", "1 Dec 2026", "Tue 1 Dec"),
        ("en-US", "Dec 1, 2026", "Tue, Dec 1"),
        ("en", "Dec 1, 2026", "Tue, Dec 1"),
        ("ar-EG", "1 Dec 2026", "Tue 1 Dec"),
        ("", "1 Dec 2026", "Tue 1 Dec"),
    ],
)
def test_days_are_written_as_in_the_region_of_the_reader(header: str, day: str, title: str) -> None:
    locale, value = Locale.from_header(header), datetime(2026, 12, 1, tzinfo=UTC).date()
    assert locale.day(value) == day
    assert locale.day_title(value, value) == ("Today", title)
    assert locale.day_title(value, value.replace(day=4))[1] == "3 days ago"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "less than a minute"), (60, "1 min"), (5399, "90 min"), (5400, "2 h"), (172_799, "48 h"), (172_800, "2 d")],
)
def test_ages_have_the_largest_unit_that_fits(seconds: float, text: str) -> None:
    assert f.duration(seconds) == text
