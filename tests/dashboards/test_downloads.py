"""Files from the page's server: exactly the filter, harmless in a spreadsheet."""

import csv
import io

import aiohttp
import pytest
from playwright.async_api import expect

from dashboards.server import escape_formulas
from tests.dashboards.conftest import Api, Visit, page_server
from tests.dashboards.serving import unused_port
from tests.dashboards.world import MARKUP

session_loop = pytest.mark.asyncio(loop_scope="session")


def test_no_word_becomes_a_formula_and_numbers_stay() -> None:
    text = 'name,edge\n"=HYPERLINK(""x"")",-0.05\n@cmd,+1e-3\n-Union,\n'
    rows = list(csv.reader(io.StringIO(escape_formulas(text))))
    assert rows[1:] == [['\'=HYPERLINK("x")', "-0.05"], ["'@cmd", "+1e-3"], ["'-Union", ""]]
    assert escape_formulas(text, with_head=False).startswith("\"'=HYPERLINK")


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
    assert len(rows) == await api.total(status="finished", region="Italy", min_edge="0.05") > 0
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
