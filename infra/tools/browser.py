"""The Chromium of this machine, for pictures and tests of the match page."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

from infra.local.children import LocalError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")


def executable() -> str:
    """Where it is: TOUCHLINE_CHROMIUM, or the first that is installed."""
    found = os.environ.get("TOUCHLINE_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise LocalError("No Chromium was found: install it, or set TOUCHLINE_CHROMIUM to its program.")
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser, headless; as root it cannot make its own sandbox."""
    arguments = [*ARGUMENTS, "--no-sandbox"] if os.geteuid() == 0 else [*ARGUMENTS]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=arguments)
        try:
            yield browser
        finally:
            await browser.close()
