"""Lighthouse over the match page, beside a bare Panel page and a plain HTML page with the same rows.

Lighthouse depends on the machine, so the three are measured in turns in one run; each figure is a median.
"""

import html
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from infra.bench.servers import Servers
from infra.local.children import LocalError
from infra.local.ports import free_port
from infra.tools.browser import executable

FOLDER = Path(__file__).parents[1] / "javascript" / "lighthouse"
PROGRAM = FOLDER / "node_modules" / ".bin" / "lighthouse"
TIMEOUT_S = 180.0
FORMS = {"desktop": ["--preset=desktop"], "phone": list[str]()}
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
AUDITS = {
    "FCP, s": ("first-contentful-paint", 1000.0),
    "LCP, s": ("largest-contentful-paint", 1000.0),
    "CLS": ("cumulative-layout-shift", 1.0),
    "TBT, ms": ("total-blocking-time", 1.0),
    "sent, MB": ("total-byte-weight", 1e6),
}
# the targets of the match page, desktop and phone
TARGETS: Mapping[str, tuple[str, str]] = {
    "performance": ("≥ 85", "≥ 50"),
    "accessibility": ("100", "100"),
    "best-practices": ("100", "100"),
    "seo": ("100", "100"),
    "LCP, s": ("≤ 1.2", "≤ 4"),
    "CLS": ("≤ 0.02", "≤ 0.02"),
    "sent, MB": ("≤ 0.9", "≤ 0.9"),
}
_PLAIN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Matches</title>
<meta name="viewport" content="width=device-width"><meta name="description" content="Matches">
<link rel="icon" href="data:,"></head><body><main><h1>Matches</h1>{table}</main></body></html>"""


def install() -> None:
    """Install the locked Lighthouse, unless it is there.

    Raises:
        LocalError: npm fails or is missing.
    """
    if PROGRAM.is_file():
        return
    try:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=FOLDER, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LocalError(f"Lighthouse could not be installed with npm: {error}") from error


def audit(url: str, form: str) -> dict[str, float]:
    """Return the scores (0 to 100) and figures of one visit.

    Raises:
        LocalError: Lighthouse gave none.
    """
    flags = "--headless=new --disable-gpu" + (" --no-sandbox" if os.geteuid() == 0 else "")
    done = subprocess.run(
        [str(PROGRAM), url, *FORMS[form], "--quiet", "--output=json", f"--chrome-flags={flags}"],
        env={**os.environ, "CHROME_PATH": executable()},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
        scores = {name: 100 * report["categories"][name]["score"] for name in CATEGORIES}
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError(f"Lighthouse gave no report of {url}: {done.stderr.decode()[-500:]}") from error
    return scores | {name: report["audits"][key]["numericValue"] / by for name, (key, by) in AUDITS.items()}


def write_plain(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write a page that is nothing but the rows of the cards in a table."""
    cells = [
        [card["home_team"], card["away_team"], *(f"{p:.0%}" for p in card["probabilities"].values())] for card in rows
    ]
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    path.write_text(_PLAIN.format(table=f"<table>{body}</table>"), encoding="utf-8")
    return path


@contextmanager
def serve_yardsticks(servers: Servers, page: Path) -> Iterator[dict[str, str]]:
    """Serve the plain page as it is, and as the HTML pane of a bare Panel page; yield their addresses."""
    ports = {name: free_port() for name in ("plain HTML", "bare Panel")}
    for name, port in ports.items():
        servers.start(name, "infra.bench.yardsticks", name, str(page), str(port))
        servers.wait_for(port, "/")
    yield {name: f"http://127.0.0.1:{port}/" for name, port in ports.items()}


def compare(urls: Mapping[str, str], rounds: int) -> Iterator[Table]:
    """Measure all pages in turns; yield a table for each form of screen."""
    for number, form in enumerate(FORMS):
        found: dict[str, list[dict[str, float]]] = {name: [] for name in urls}
        for _ in range(rounds):
            for name, url in urls.items():
                found[name].append(audit(url, form))
                sys.stderr.write(f"{form}, {name}: {found[name][-1]['performance']:.0f}\n")
        table = Table(f"Lighthouse, {form}", *urls, "target of the match page")
        for figure in (*CATEGORIES, *AUDITS):
            values = [median(run[figure] for run in found[name]) for name in urls]
            digits = 0 if figure in CATEGORIES or figure == "TBT, ms" else 2
            targets = TARGETS.get(figure, ("", ""))
            table.add_row(figure, *(f"{value:.{digits}f}" for value in values), targets[number])
        yield table
