"""Pictures of the match page, as people see it: desk and phone, light and dark, full and empty."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Error, Page

from app.settings import Settings
from dashboards.server import open_server
from infra.local.children import LocalError
from infra.tools.browser import chromium

DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
SETTLE_MS = 600  # fonts, and the strip of results, which is asked for apart from the list
TIMEOUT_MS = 15_000


async def _stay(_: Page) -> None:
    pass


async def _open_match(page: Page) -> None:
    rows = page.locator(".row.is-value .teams")
    await (rows if await rows.count() else page.locator(".row .teams")).first.click()
    await page.locator("[data-alias=champion]").first.click()
    await page.locator(".live .given, .live .failed").first.wait_for()


async def _open_filters(page: Page) -> None:
    await page.get_by_role("button", name="Filters", exact=True).click()
    await page.wait_for_timeout(SETTLE_MS)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: where, how large, and what is done before."""

    name: str
    query: str = ""
    window: Mapping[str, Any] = field(default_factory=lambda: DESK)
    act: Callable[[Page], Awaitable[None]] = _stay


SHOTS = (
    Shot("light"),
    Shot("dark", "?status=all", DESK | {"color_scheme": "dark"}),
    Shot("mobile", "", PHONE),
    Shot("filters", "", PHONE, _open_filters),
    Shot("finished", "?status=finished"),
    Shot("value", "?status=all&value=1&sort=edge"),
    Shot("detail", "", DESK, _open_match),
    Shot("performance", "?status=finished&view=performance", {"viewport": {"width": 1440, "height": 1500}}),
    Shot("operations", "?view=operations"),
    Shot("empty", "?q=nobody+is+called+so&edge=10"),
)
ERROR = Shot("error")
NOBODY = "http://127.0.0.1:1"  # a reserved port: there is never an API


async def take(url: str, out: Path) -> list[str]:
    """Take all pictures; returns the errors the pages reported."""
    errors: list[str] = []
    async with chromium() as browser:
        for shot in SHOTS:
            await _take(browser, url, out, shot, errors)
        settings = Settings(dashboard_port=0, api_url=NOBODY, _env_file=None)
        async with open_server(settings) as server:
            await _take(browser, f"http://127.0.0.1:{server.port}", out, ERROR, errors)
    return errors


async def _take(browser: Browser, url: str, out: Path, shot: Shot, errors: list[str]) -> None:
    context = await browser.new_context(**({"locale": "en-GB", "timezone_id": "Europe/London"} | dict(shot.window)))
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.on("pageerror", lambda error: errors.append(f"{shot.name}: {error}"))
    try:
        await page.goto(f"{url.rstrip('/')}/{shot.query}")
        await page.locator(".row, .state, .chart svg, .panel").first.wait_for()
        await page.wait_for_timeout(SETTLE_MS)
        await shot.act(page)
        path = out / f"{shot.name}.png"
        await page.screenshot(path=path)
        sys.stdout.write(f"{path}\n")
    finally:
        await context.close()


def main() -> int:
    """Read the command line, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:5006", help="where the match page is served")
    parser.add_argument("--out", type=Path, default=Path("var/screenshots"), help="folder for the pictures")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        errors = asyncio.run(take(arguments.url, arguments.out))
    except (LocalError, Error) as error:
        sys.stderr.write(f"No picture: {str(error).splitlines()[0]}\n")
        return 1
    sys.stderr.writelines(f"{error}\n" for error in errors)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
