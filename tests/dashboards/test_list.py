import asyncio
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Browser, expect

from tests.dashboards.conftest import Api, Visit, visiting
from tests.dashboards.world import GOOD_LINK, MARKUP, N_MATCHES, N_UPCOMING

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

SIDES = ("home", "draw", "away")
# less than what is drawn beyond the window, and then a frame in which it is drawn
SCROLL = "scrollBy({top: 1200, behavior: 'instant'}), new Promise(go => requestAnimationFrame(() => setTimeout(go)))"
BERLIN = ZoneInfo("Europe/Berlin")


async def test_rows_are_the_cards_of_the_api(api: Api, visit: Visit) -> None:
    page = await visit.open()
    # those past their kick-off stand in a group of their own, which is closed
    now = datetime.now(BERLIN).isoformat()
    cards = (await api.ask("/predict/cards/", **{"status": "upcoming", "limit": "6", "from": now}))["items"]
    for card in cards:
        row = page.locator(f'.row[data-id="{card["match_id"]}"]')
        await expect(row.locator(".name")).to_have_text([card["home_team"], card["away_team"]])
        percents = [f"{card['probabilities'][side]:.0%}" for side in SIDES]
        shown = await row.locator(".tile .p").all_text_contents()
        # halves are rounded up in a browser and to even in Python
        assert all(abs(int(a[:-1]) - int(b[:-1])) <= 1 for a, b in zip(shown, percents, strict=True))
        prices = [f"{card['money']['odds'][side]:.2f}" for side in SIDES] if card["money"] else ["–"] * 3
        await expect(row.locator(".tile .odds")).to_have_text(prices)
        kickoff = datetime.fromisoformat(card["kickoff_utc"]).astimezone(BERLIN)
        await expect(row.locator(".when b")).to_have_text(kickoff.strftime("%H:%M") if card["kickoff_known"] else "–")


@pytest.mark.parametrize("status", ["upcoming", "finished"])
async def test_a_time_that_was_not_published_is_not_shown(api: Api, visit: Visit, status: str) -> None:
    cards = await api.ask("/predict/cards/", status=status, sort="-kickoff" if status == "finished" else "kickoff")
    card = next(card for card in cards["items"] if not card["kickoff_known"])
    page = await visit.open(f"?status={status}")
    row = page.locator(f'.row[data-id="{card["match_id"]}"]')
    await expect(row.locator(".when b")).to_have_text("–")
    await expect(row.locator(".when")).to_have_attribute("title", "kick-off time not published")
    await row.locator(".teams").click()
    facts = page.locator(".detail .facts")
    await expect(facts).to_contain_text("time not published")
    await expect(facts).not_to_contain_text("before kick-off")
    assert not re.search(r"\d\d:\d\d", await facts.inner_text())


async def test_the_time_of_a_price_is_only_about(api: Api, visit: Visit) -> None:
    cards = (await api.ask("/predict/cards/", status="finished", sort="-kickoff", limit="10"))["items"]
    card = next(card for card in cards if card["money"] and card["kickoff_known"])
    page = await visit.open("?status=finished")
    await page.locator(f'.row[data-id="{card["match_id"]}"] .teams').click()
    await expect(page.locator(".detail .facts")).to_contain_text("taken about 24 h before kick-off")


async def test_rows_stand_under_their_day_region_and_tournament(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    assert await page.locator(".day h2").count() > 1
    first = page.locator(".group").first
    await expect(first.locator("h3")).to_have_text(
        re.compile("(England|Italy|Scotland)(Premier League|Championship|Serie A|Premiership)")
    )
    await expect(first.locator(".region-roi")).to_contain_text("ROI")
    for name in ("title", "aria-label"):
        await expect(first.locator(".region-roi")).to_have_attribute(name, re.compile("shrunk towards the overall ROI"))
    await expect(page.locator(".field.rroi .hint")).to_contain_text("shrunk towards the overall ROI")


async def test_the_value_bet_is_marked_by_outline_sign_and_words(api: Api, visit: Visit) -> None:
    cards = (await api.ask("/predict/cards/", status="upcoming", limit="40"))["items"]
    card = next(c for c in cards if c["money"] and c["money"]["is_value"] and c["money"]["best_edge"] < 0.29)
    page = await visit.open()
    row = page.locator(f'.row[data-id="{card["match_id"]}"]')
    await row.scroll_into_view_if_needed()
    tile = row.locator(".tile.value")
    await expect(tile).to_have_count(1)
    await expect(tile).to_have_attribute("aria-label", re.compile("value bet"))
    await expect(tile.locator(".mark")).to_have_text("▲")
    sign = {"home": "1", "draw": "X", "away": "2"}[card["money"]["best_outcome"]]
    await expect(row.locator(".chip.value")).to_contain_text(f"▲ {sign} @ ")
    await expect(row.locator(".chip.value")).to_contain_text(f"+{100 * card['money']['best_edge']:.1f}%")


async def test_finished_rows_say_hit_or_miss_and_in_sample_ones_prove_nothing(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished&sort=-time")
    seen = page.locator(".row .chip.seen").first
    await expect(seen).to_contain_text("in-sample")
    for row in await page.locator(".row").all():
        text = await row.locator(".pred").inner_text()
        assert ("✓ Hit" in text) != ("✗ Miss" in text)
        assert "FT" in await row.locator(".when").inner_text()


async def test_a_match_whose_kickoff_has_passed_waits_for_its_result(visit: Visit) -> None:
    page = await visit.open()
    head = page.get_by_role("button", name="Results awaited 1 match past kick-off")
    await expect(head).to_have_attribute("aria-expanded", "false")
    await expect(page.locator(".awaited")).to_have_count(0)
    await head.click()
    await expect(page.locator(".row").first.locator(".awaited small")).to_have_text("result awaited")
    await expect(head).to_be_focused()
    await head.click()
    await expect(page.locator(".awaited")).to_have_count(0)


async def test_markup_in_a_name_is_only_text(visit: Visit) -> None:
    page = await visit.open()
    name = page.locator(".row .name", has_text="onerror")
    await expect(name).to_have_text(MARKUP)
    await name.click()
    await expect(page.locator(".detail tbody th").first).to_contain_text(MARKUP)
    assert await page.locator(".touchline img, .touchline .name b").count() == 0


async def test_only_https_links_are_shown_and_they_lead_to_a_new_window(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    links = page.locator(".row .link a")
    assert await links.count() > 2
    assert set(await links.evaluate_all("all => all.map(a => `${a.href} ${a.target} ${a.rel}`)")) == {
        f"{GOOD_LINK} _blank noopener noreferrer"
    }


async def test_scrolling_asks_for_more_and_draws_only_what_is_near(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    drawn: set[str] = set()
    async with asyncio.timeout(40):
        while len(drawn) < N_MATCHES - N_UPCOMING:
            ids = await page.locator(".row").evaluate_all("rows => rows.map(row => row.dataset.id)")
            assert len(ids) == len(set(ids)) < 60
            drawn.update(ids)
            await page.evaluate(SCROLL)
    assert len(drawn) == N_MATCHES - N_UPCOMING
    await expect(page.locator(".tail")).to_have_count(0)


async def test_the_sticky_head_names_the_day_one_is_in(visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.mouse.wheel(0, 4000)
    await expect(page.locator(".head .here")).to_contain_text("days ago")


async def test_the_page_says_what_it_is(visit: Visit) -> None:
    page = await visit.open()
    await expect(page.locator('[data-notice="simulated"]')).to_contain_text("made up")
    await expect(page.locator("footer")).to_contain_text("18+")
    await expect(page.locator(".bar .fresh")).to_contain_text("Results to")
    await expect(page).to_have_title(re.compile("Touchline"))


async def test_results_stand_beside_their_yardsticks(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished")
    roi = await api.ask("/predict/roi/", status="finished")
    strip = page.locator(".results")
    await expect(strip.locator(".roi .value")).to_have_text(f"{roi['roi_pct']:+.1f}%".replace("-", "−"))
    await expect(strip.locator(".roi .under")).to_contain_text("95 % CI")
    await expect(strip).to_contain_text(f"market favourite {roi['accuracy_market']:.1%}")
    await expect(strip).to_contain_text(f"always home {roi['accuracy_home']:.1%}")
    await expect(strip).to_contain_text(f"{roi['n_bets']} bets")


async def test_too_few_bets_are_called_so(visit: Visit) -> None:
    page = await visit.open("?status=finished&period=last7")
    await expect(page.locator(".results .roi")).to_contain_text("too few bets")


async def test_a_bet_that_lost_beside_a_pick_that_came_says_which_outcome_it_was_on(api: Api, visit: Visit) -> None:
    cards = (await api.ask("/predict/cards/", status="finished", sort="-kickoff", value="true", limit="200"))["items"]
    card = next(
        c for c in cards if c["hit"] and c["money"]["profit"] < 0 and c["money"]["best_outcome"] != c["predicted"]
    )
    page = await visit.open("?status=finished&value=1&q=" + card["home_team"].replace(" ", "+"))
    row = page.locator(f'.row[data-id="{card["match_id"]}"]')
    sign = {"home": "1", "draw": "X", "away": "2"}[card["money"]["best_outcome"]]
    await expect(row.locator(".lost")).to_have_text(f"bet on {sign} lost −1.00\u202fu")
    await expect(row.locator(".lost")).to_have_attribute("title", re.compile("the most probable outcome"))


async def test_a_day_without_a_time_is_the_published_one_in_every_time_zone(
    api: Api, browser: Browser, site: str
) -> None:
    cards = await api.ask("/predict/cards/", status="finished", sort="-kickoff")
    card = next(card for card in cards["items"] if not card["kickoff_known"])
    day = datetime.fromisoformat(card["kickoff_utc"]).astimezone(ZoneInfo("UTC"))
    for zone in ("Pacific/Auckland", "Pacific/Honolulu"):
        async with visiting(browser, site, timezone_id=zone, viewport={"width": 1440, "height": 900}) as visit:
            page = await visit.open("?status=finished&q=" + card["home_team"].replace(" ", "+"))
            await page.locator(f'.row[data-id="{card["match_id"]}"] .teams').click()
            await expect(page.locator(".detail .facts")).to_contain_text(f"{day:%a} {day.day} {day:%b}")
            await expect(page.locator(".day h2", has_text=f"{day.day} {day:%b}").first).to_be_visible()


@pytest.mark.parametrize(
    ("locale", "clock"),
    [("ar-EG", r"\d{1,2}:\d\d [AaPp][Mm]"), ("de-DE", r"\d\d:\d\d$"), ("en-US", r"\d{1,2}:\d\d [AP]M")],
)
async def test_texts_are_english_and_one_clock_follows_the_locale(
    browser: Browser, site: str, locale: str, clock: str
) -> None:
    async with visiting(browser, site, locale=locale, viewport={"width": 1440, "height": 900}) as visit:
        page = await visit.open("?status=finished")
        text = await page.locator(".touchline").inner_text()
        assert not re.search("[\u0660-\u0669\u06f0-\u06f9]", text)
        assert re.search(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? ", await page.locator(".day h2").first.inner_text())
        times = [time for time in await page.locator(".when b").all_inner_texts() if time != "–"]
        assert all(re.fullmatch(clock.replace(" ", r"\s"), time) for time in times)
        wide = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length"
        assert await page.locator(".when").evaluate_all(wide) == 0


@pytest.mark.parametrize("width", [390, 768, 1024, 1440])
async def test_the_age_of_the_data_is_in_sight_at_every_width(browser: Browser, site: str, width: int) -> None:
    async with visiting(browser, site, viewport={"width": width, "height": 844}) as visit:
        page = await visit.open()
        age = page.get_by_text(re.compile("^Results to ")).filter(visible=True)
        await expect(age).to_have_count(1)
        await expect(age).to_be_in_viewport(ratio=1)
