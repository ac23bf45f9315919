import re
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Browser, Page, expect

from tests.dashboards.conftest import Api, Visit, visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

Act = Callable[[Page], Awaitable[object]]

# what a person does, what the API is asked, what the address bar says
FILTERS: dict[str, tuple[Act, dict[str, str], str]] = {
    "region": (lambda p: p.select_option("#region", "Italy"), {"region": "Italy"}, "region=Italy"),
    "tournament": (
        lambda p: p.select_option("#tournament", "England\nChampionship"),
        {"region": "England", "tournament": "Championship"},
        "region=England&tournament=Championship",
    ),
    "min edge": (lambda p: p.select_option("#edge", "10"), {"min_edge": "0.1"}, "edge=10"),
    "min region ROI": (lambda p: p.select_option("#rroi", "10"), {"min_region_roi": "10"}, "rroi=10"),
    "search": (lambda p: p.fill("#q", "scotland home 3"), {"q": "scotland home 3"}, "q=scotland+home+3"),
    "value bets only": (lambda p: p.locator(".switch").click(), {"value": "true"}, "value=1"),
}


async def shows(page: Page, total: int) -> None:
    await expect(page.locator(".results .card").last.locator(".value")).to_have_text(f"{total:,}")


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_shows_what_the_api_says_and_is_in_the_address(api: Api, visit: Visit, name: str) -> None:
    act, asked, address = FILTERS[name]
    total = await api.total(status="finished", **asked)
    assert 0 < total < await api.total(status="finished")
    page = await visit.open("?status=finished")
    await act(page)
    await expect(page).to_have_url(f"{visit.site}/?" + re.sub("^", "status=finished&", address))
    await shows(page, total)


@pytest.mark.parametrize(("status", "asked"), [("finished", {"status": "finished"}), ("all", {})])
async def test_status_is_chosen_with_a_click(api: Api, visit: Visit, status: str, asked: dict[str, str]) -> None:
    page = await visit.open()
    await shows(page, await api.total(status="upcoming"))
    await page.locator(f"[data-status={status}]").click()
    await shows(page, await api.total(**asked))
    await expect(page.locator(f"[data-status={status}]")).to_have_attribute("aria-pressed", "true")


async def test_a_period_narrows_the_list(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished")
    await page.select_option("#period", "last7")
    await expect(page).to_have_url(re.compile("period=last7"))
    days = page.locator(".day h2")
    await expect(days.last).to_contain_text(re.compile("[1-6] days ago|Yesterday"))
    assert 0 < await days.count() <= 7
    assert await page.locator(".row").count() < 25


async def test_sorting_by_edge_puts_the_best_first_and_says_where_each_match_is(api: Api, visit: Visit) -> None:
    page = await visit.open()
    await page.select_option("#sort", "edge")
    best = (await api.ask("/predict/cards/", status="upcoming", sort="-edge", limit="3"))["items"]
    await expect(page.locator(".row .where").first).to_contain_text(best[0]["tournament"])
    ids = await page.locator(".row").evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert ids[:3] == [str(card["match_id"]) for card in best]


async def test_a_shared_address_survives_a_reload(api: Api, visit: Visit) -> None:
    query = "?status=finished&region=England&tournament=Premier+League&edge=7&value=1&sort=edge"
    total = await api.total(
        status="finished", region="England", tournament="Premier League", min_edge="0.07", value="true"
    )
    page = await visit.open(query)
    for _ in range(2):
        await shows(page, total)
        assert page.url == f"{visit.site}/{query}"
        await expect(page.locator("#region")).to_have_value("England")
        await expect(page.locator("#tournament")).to_have_value("England\nPremier League")
        await expect(page.locator("#edge")).to_have_value("7")
        await expect(page.locator("#value")).to_be_checked()
        await page.reload()


@pytest.mark.parametrize("query", ["?status=Foo", "?edge=99999", "?period=%00", "?sort=<script>", "?region[]=x"])
async def test_an_impossible_address_shows_the_default_list(api: Api, visit: Visit, query: str) -> None:
    page = await visit.open(query)
    await shows(page, await api.total(status="upcoming"))


async def test_back_takes_one_change_back(api: Api, visit: Visit) -> None:
    page = await visit.open()
    await page.select_option("#region", "Italy")
    await shows(page, await api.total(status="upcoming", region="Italy"))
    await page.locator("[data-status=finished]").click()
    await shows(page, await api.total(status="finished", region="Italy"))
    await page.go_back()
    await shows(page, await api.total(status="upcoming", region="Italy"))
    await expect(page.locator("#region")).to_have_value("Italy")
    await page.go_back()
    await shows(page, await api.total(status="upcoming"))
    await expect(page.locator("#region")).to_have_value("")


async def test_reset_takes_everything_back(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=all&region=Italy&edge=5&q=Home")
    await page.get_by_role("button", name="Reset filters").click()
    await shows(page, await api.total(status="upcoming"))
    await expect(page).to_have_url(f"{visit.site}/")
    await expect(page.locator("#q")).to_have_value("")


async def test_an_empty_list_says_which_filter_to_loosen(api: Api, visit: Visit) -> None:
    page = await visit.open("?q=nobody+is+called+so&region=Italy")
    state = page.locator(".state")
    await expect(state).to_contain_text("No matches for these filters")
    await expect(state.locator("[data-loosen]")).to_have_text(["Search “nobody is called so”", "Region Italy"])
    await state.locator("[data-loosen=q]").click()
    await shows(page, await api.total(status="upcoming", region="Italy"))
    await expect(state).to_have_count(0)


async def test_counts_of_the_choices_follow_the_other_filters(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished&region=England")
    for query in ({}, {"min_edge": "0.1"}):
        n = await api.total(status="finished", region="Italy", **query)
        await expect(page.locator("#region option[value=Italy]")).to_have_text(f"Italy ({n})")
        await page.select_option("#edge", "10")


async def test_two_people_do_not_share_their_filters(api: Api, browser: Browser, site: str) -> None:
    async with visiting(browser, site) as one, visiting(browser, site) as other:
        first, second = await one.open(), await other.open()
        await first.select_option("#region", "Italy")
        await shows(first, await api.total(status="upcoming", region="Italy"))
        await shows(second, await api.total(status="upcoming"))


async def test_value_bets_only_are_the_flagged_ones_in_list_counts_and_sql(api: Api, visit: Visit) -> None:
    """Not every edge above the threshold is a value bet: a team may have too few matches."""
    flagged = (await api.ask("/predict/cards/", status="upcoming", value="true", limit="200"))["items"]
    assert all(card["money"]["is_value"] for card in flagged)
    page = await visit.open("?value=1")
    await shows(page, len(flagged))
    ids = {str(card["match_id"]) for card in flagged}
    assert set(await page.locator(".row").evaluate_all("rows => rows.map(row => row.dataset.id)")) <= ids
    facets = (await api.ask("/predict/facets/", status="upcoming", value="true"))["items"]
    n_italy = sum(item["n"] for item in facets if item["region"] == "Italy")
    await expect(page.locator("#region option[value=Italy]")).to_have_text(f"Italy ({n_italy})")
    await page.get_by_role("button", name="Show SQL").click()
    await expect(page.get_by_role("dialog").locator("code")).to_contain_text("is_value")


async def test_two_regions_in_the_address_are_two_regions(api: Api, visit: Visit) -> None:
    total = await api.total(status="finished", region="Italy") + await api.total(status="finished", region="Scotland")
    page = await visit.open("?status=finished&region=Scotland&region=Italy")
    await shows(page, total)
    await expect(page.locator("#region option:checked")).to_have_text("Italy, Scotland")
    await page.reload()
    await shows(page, total)
    await page.select_option("#region", "Italy")
    await shows(page, await api.total(status="finished", region="Italy"))
    await expect(page).to_have_url(f"{visit.site}/?status=finished&region=Italy")


async def test_a_period_that_is_over_offers_the_finished_matches(api: Api, visit: Visit) -> None:
    page = await visit.open("?period=last30&region=Italy&edge=1")
    step = page.locator("[data-step=finished]")
    await step.click()
    await expect(page).to_have_url(re.compile("status=finished"))
    await expect(page.locator(".row").first).to_be_visible()
