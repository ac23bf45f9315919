"""The rules of axe-core over every view and state: nothing serious is found."""

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.dashboards.conftest import visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

DESK: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
SEEN = {
    "matches": ("?status=finished", DESK),
    "matches in the dark": ("", DESK | {"color_scheme": "dark"}),
    "matches on a phone": ("?sort=edge", PHONE),
    "performance": ("?view=performance", DESK),
    "performance in the dark": ("?view=performance", PHONE | {"color_scheme": "dark"}),
    "operations": ("?view=operations", DESK),
    "nothing found": ("?q=nobody+is+called+so", DESK),
}


async def open_match(page: Page) -> None:
    if await page.locator(".row .teams").count():
        await page.locator(".row .teams").first.click()
        await expect(page.locator(".detail")).to_be_visible()


@pytest.mark.parametrize("seen", SEEN)
async def test_axe_finds_nothing_serious(browser: Browser, site: str, seen: str) -> None:
    query, window = SEEN[seen]
    async with visiting(browser, site, **window, reduced_motion="reduce") as visit:
        page = await visit.open(query)
        await open_match(page)
        found = (await Axe().run(page)).response["violations"]
    grave = {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found if rule["impact"] != "minor"}
    assert grave == {}
