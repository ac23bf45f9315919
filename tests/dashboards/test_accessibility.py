"""The rules of the newest axe-core over every view, at every width, in both themes: nothing at all is found."""

import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from infra.tools import javascript
from tests.dashboards.conftest import visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

AXE = javascript.TOOLS / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (390, 768, 1440, 1920)


async def open_match(page: Page) -> None:
    await page.locator(".row .teams").first.click()
    await expect(page.locator(".detail")).to_be_visible()


async def open_filters(page: Page) -> None:
    opener = page.get_by_role("button", name="Filters", exact=True)
    if await opener.is_visible():
        await opener.click()


async def open_definitions(page: Page) -> None:
    await page.get_by_role("button", name="Definitions").click()
    await expect(page.get_by_role("dialog", name="Definitions")).to_be_visible()


async def stay(_: Page) -> None:
    pass


SEEN: dict[str, tuple[str, Callable[[Page], Awaitable[None]]]] = {
    "a match": ("?status=finished", open_match),
    "a match by edge": ("?sort=edge", open_match),
    "filters": ("?status=all", open_filters),
    "definitions": ("", open_definitions),
    "performance": ("?view=performance&status=finished", stay),
    "operations": ("?view=operations", stay),
    "nothing found": ("?q=nobody+is+called+so", stay),
}


@pytest.fixture(scope="module")
def axe() -> Axe:
    """The newest rules, as the lock of the JavaScript tools has them."""
    if shutil.which("npm") is None:
        pytest.fail("Install Node.js with npm: the rules of axe-core come from its registry.")
    assert javascript.install() == 0
    rules: Axe = Axe.from_file(AXE)
    return rules


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_axe_finds_nothing(browser: Browser, site: str, axe: Axe, width: int, scheme: str) -> None:
    window: dict[str, Any] = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    async with visiting(browser, site, **window, reduced_motion="reduce") as visit:
        for name, (query, act) in SEEN.items():
            page = await visit.open(query)
            await act(page)
            found = (await axe.run(page)).response["violations"]
            assert {rule["id"]: [node["html"] for node in rule["nodes"]] for rule in found} == {}, name
