"""The match page: first row in a real browser, a filter until it is painted, memory of a session, many at once.

The page's server is one process; sessions beyond the one in the browser speak Bokeh's protocol over bare websockets.
`prototype` is what the design's prototype took on a busy two-core machine.
"""

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import aiohttp
import psutil
from playwright.async_api import Browser, Page
from rich.console import Console
from rich.table import Table

from infra.bench import lighthouse
from infra.bench.servers import Servers
from infra.bench.sessions import Visitor, visiting
from infra.bench.synthetic import make_artifacts
from infra.local.ports import free_port
from infra.tools.browser import chromium

N_MATCHES = 20_000
N_FEATURES = 20
ROUNDS = 7
BUSY_SESSIONS, AT_ONCE = 20, 50
BUSY_S, THINK_S = 20.0, 2.0
WAIT_MS = 30_000
# from the click to the frame after the rows of the new filter are in the document
_PAINTED = """async region => {
  const root = [...document.querySelectorAll("*")].find(el => el.shadowRoot?.querySelector(".touchline")).shadowRoot
  const select = root.querySelector("#region"), began = performance.now()
  const heads = () => [...root.querySelectorAll(".group h3")].map(el => el.firstChild.data)
  const isShown = () => heads().length && heads().every(name => name === region)
  select.value = region
  select.dispatchEvent(new Event("change"))
  while (!isShown()) await new Promise(then => setTimeout(then, 4))
  await new Promise(then => requestAnimationFrame(() => setTimeout(then)))
  return performance.now() - began
}"""


async def _first_row(page: Page, url: str) -> tuple[float, float]:
    """Seconds until the first row of the server is seen, and until the live page has taken over."""
    began = time.perf_counter()
    await page.goto(url, wait_until="commit")
    await page.locator(".row").first.wait_for(timeout=WAIT_MS)
    first_s = time.perf_counter() - began
    await page.locator("#shell").wait_for(state="detached", timeout=WAIT_MS)
    return first_s, time.perf_counter() - began


async def in_browser(browser: Browser, url: str) -> dict[str, float]:
    """Medians of a cold and a warm first row, of the take-over, and of a filter until it is painted; seconds."""
    cold, warm, painted = list[tuple[float, float]](), list[tuple[float, float]](), list[float]()
    for number in range(ROUNDS):
        context = await browser.new_context(viewport={"width": 1440, "height": 900})
        page = await context.new_page()
        cold.append(await _first_row(page, url))
        warm.append(await _first_row(page, url))
        painted.append(await page.evaluate(_PAINTED, f"Region {number:02d}") / 1000)
        await context.close()
    return {
        "first row, cold": median(first for first, _ in cold),
        "live, cold": median(live for _, live in cold),
        "first row, warm": median(first for first, _ in warm),
        "live, warm": median(live for _, live in warm),
        "filter to painted": median(painted),
    }


async def _busy(visitor: Visitor, until: float) -> list[float]:
    took: list[float] = []
    while time.perf_counter() < until:
        await asyncio.sleep(random.uniform(0.5, 1.5) * THINK_S)  # noqa: S311
        status, region = random.choice(("finished", "all", "upcoming")), f"Region {random.randrange(34):02d}"  # noqa: S311
        took.append(await visitor.change(status=status, region=region))
    return took


async def many(url: str, n_sessions: int, work: Callable[[list[Visitor]], Awaitable[None]]) -> float:
    """Open so many sessions at the same moment, then do `work`; seconds until the last had its first rows."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        began = time.perf_counter()
        opening = (stack.enter_async_context(visiting(url, client)) for _ in range(n_sessions))
        visitors = list(await asyncio.gather(*opening))
        took_s = time.perf_counter() - began
        await work(visitors)
    return took_s


async def measure(url: str, page_pid: int) -> dict[str, float]:
    """All figures by name."""
    server, found, took = psutil.Process(page_pid), dict[str, float](), list[float]()

    async def nothing(_: list[Visitor]) -> None:
        found["process, MB"] = server.memory_info().rss / 2**20

    async def weigh(_: list[Visitor]) -> None:
        found["a session, MB"] = (server.memory_info().rss / 2**20 - found["process, MB"]) / AT_ONCE

    async def use(visitors: list[Visitor]) -> None:
        until = time.perf_counter() + BUSY_S
        for one in await asyncio.gather(*(_busy(visitor, until) for visitor in visitors)):
            took.extend(one)

    # first of all, while nothing freed can be used again
    await many(url, 1, nothing)
    found["50 opened at once, all have rows"] = await many(url, AT_ONCE, weigh)
    async with chromium() as browser:
        found |= await in_browser(browser, url)
    await many(url, BUSY_SESSIONS, use)
    found["20 busy sessions, p50"] = median(took)
    found["20 busy sessions, p95"] = quantiles(took, n=20)[-1]
    return found


PROTOTYPE = {"live, cold": 4.0, "live, warm": 2.4, "filter to painted": 0.5, "a session, MB": 2.0}
PROTOTYPE |= {"20 busy sessions, p50": 0.345, "20 busy sessions, p95": 0.56}


def run(home: Path, n_matches: int, n_lighthouse: int) -> Iterator[Table]:
    """Start API and page over so many made-up matches; yield the tables of Lighthouse and that of the page."""
    artifacts = make_artifacts(home / "artifacts", n_matches, N_FEATURES)
    env = {"TOUCHLINE_HOME": str(home / "var"), "LOG_FORMAT": "json", "REDIS_URL": "redis://127.0.0.1:1/0"}
    servers = Servers(home, env | {"ARTIFACTS_URI": str(artifacts)})
    api, page = free_port(), free_port()
    try:
        servers.start("api", "app", APP_PORT=str(api))
        servers.wait_for(api, "/predict/facets/")
        server = servers.start("page", "dashboards", DASHBOARD_PORT=str(page), API_URL=f"http://127.0.0.1:{api}")
        servers.wait_for(page, "/")
        if n_lighthouse:
            lighthouse.install()
            with urlopen(f"http://127.0.0.1:{api}/predict/cards/?status=upcoming&sort=kickoff&limit=26") as answer:
                plain = lighthouse.write_plain(json.load(answer)["items"], home / "plain.html")
            with lighthouse.serve_yardsticks(servers, plain) as yardsticks:
                yield from lighthouse.compare({"match page": f"http://127.0.0.1:{page}/"} | yardsticks, n_lighthouse)
        yield _tabulate(asyncio.run(measure(f"http://127.0.0.1:{page}", server.pid)), n_matches)
    finally:
        servers.stop()


def main(arguments: Sequence[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench page", description=__doc__)
    parser.add_argument("--matches", type=int, default=N_MATCHES)
    parser.add_argument("--lighthouse", type=int, default=3, help="visits of Lighthouse a page and screen; 0: none")
    given = parser.parse_args(arguments)
    with TemporaryDirectory(prefix="touchline-bench-") as folder:
        for table in run(Path(folder), given.matches, given.lighthouse):
            Console().print(table)


def _tabulate(found: dict[str, float], n_matches: int) -> Table:
    table = Table(f"{n_matches:,} matches", "s or MB", "prototype")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}", f"{PROTOTYPE[name]:g}" if name in PROTOTYPE else "")
    return table
