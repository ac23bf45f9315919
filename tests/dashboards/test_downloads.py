"""Files from the page's server: exactly the filter, harmless in a spreadsheet."""

import csv
import io

import aiohttp
import pytest
from playwright.async_api import expect

from dashboards.server import format_for_people
from tests.dashboards.conftest import Api, Visit, page_server
from tests.dashboards.serving import unused_port
from tests.dashboards.world import MARKUP

session_loop = pytest.mark.asyncio(loop_scope="session")


def test_a_person_gets_four_decimals_whole_ids_and_nothing_internal() -> None:
    text = (
        '"match_id","home_team","best_edge","kickoff_utc","model_run_id"\n'
        '4611686018427387905,"\'=HYPERLINK(""x"")",-0.0512345,"2026-08-15T14:00:00.000000Z","f00"\n'
        '7,"a\rb",1e-7,"2026-08-15T14:00:00.000000Z",\n'
        '8,"1.23456",,"2026-08-15T14:00:00.000000Z",\n'
    )
    rows = list(csv.reader(io.StringIO(format_for_people(text), newline="")))
    assert rows == [
        ["match_id", "home_team", "best_edge", "kickoff_utc"],
        ["'4611686018427387905", '\'=HYPERLINK("x")', "-0.0512", "2026-08-15T14:00:00.000000Z"],
        ["'7", "a\rb", "0.0000", "2026-08-15T14:00:00.000000Z"],
        ["'8", "1.23456", "", "2026-08-15T14:00:00.000000Z"],
    ]
    assert format_for_people(text, with_head=False).startswith("'4611")


async def fetched(url: str) -> tuple[aiohttp.ClientResponse, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response, await response.text(encoding="utf-8")


@session_loop
async def test_the_file_holds_exactly_the_filter(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished&region=Italy&value=1&sort=-time")
    await expect(page.locator(".results .roi .value")).to_be_visible()
    url = await page.get_by_role("link", name="Export CSV").evaluate("link => link.href")
    response, text = await fetched(url)
    assert response.headers["Content-Disposition"] == 'attachment; filename="matches.csv"'
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert len(rows) == await api.total(status="finished", region="Italy", value="true") > 0
    assert {row["region"] for row in rows} == {"Italy"}
    assert [row["kickoff_utc"] for row in rows] == sorted(row["kickoff_utc"] for row in rows)


@session_loop
async def test_a_file_longer_than_a_page_of_the_api_is_whole(
    api: Api, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.server._PAGE_ROWS", 90)
    _, text = await fetched(f"{site}/cards.csv?status=all")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert len({row["match_id"] for row in rows}) == len(rows) == await api.total()
    assert any(row["home_team"] == MARKUP for row in rows)


@session_loop
@pytest.mark.parametrize("path", ["cards.csv", "drift-report"])
async def test_without_the_api_there_is_a_sentence(path: str) -> None:
    async with page_server(f"http://127.0.0.1:{unused_port()}") as site:
        response, text = await fetched(f"{site}/{path}")
    assert response.status == 502
    assert text == "The prediction service cannot be reached.\n"


@session_loop
async def test_the_sql_of_the_filter_can_be_copied(api: Api, visit: Visit) -> None:
    page = await visit.open("?status=finished&region=Italy")
    await page.get_by_role("button", name="Show SQL").click()
    shown = page.get_by_role("dialog").locator("code")
    await expect(shown).to_contain_text("Italy")
    asked = await api.ask("/predict/cards/sql", status="finished", region="Italy", sort="-kickoff")
    assert await shown.text_content() == asked["sql"]
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
