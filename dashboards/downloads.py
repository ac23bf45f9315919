"""What the page's server passes on from the API as files: cards as CSV, and the drift report."""

import asyncio
import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

from tornado.web import RequestHandler

from dashboards.client import ApiFailure
from dashboards.filters import Filters, zone_named
from dashboards.store import Store

_BOM = "\ufeff"  # without it a spreadsheet takes UTF-8 for something else
_PAGE_ROWS = 1000
# the service's own bookkeeping
_INTERNALS = frozenset({"model_run_id", "model_stage", "computed_at"})
_DECIMAL = re.compile(r"-?\d+(\.\d+(e[+-]?\d+)?|e[+-]?\d+)")
_TEXTS = frozenset({"region", "tournament", "season", "home_team", "away_team", "bookmaker", "model_version"})
_N_DECIMALS = 4
_MAX_QUERY = 2000


class _Passed(RequestHandler):
    """An answer of the API in this server's name; its failure in words."""

    def initialize(self, store: Store) -> None:
        """Tornado's constructor."""
        self.store = store

    def fail(self, failure: ApiFailure) -> None:
        """Say what is wrong, as text."""
        self.set_status(502)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{failure.reason}\n")


class CardsCsv(_Passed):
    """`cards.csv?<filters of the page>&zone=<time zone>`: exactly the filtered matches, piece by piece."""

    async def get(self) -> None:
        """Stream the rows; what fails after the first piece ends the file short, so that a client notices."""
        filters = Filters()
        filters.read(self.request.query[:_MAX_QUERY])
        zone = zone_named(self.get_query_argument("zone", ""))
        asked = filters.api(now=datetime.now(UTC), zone=zone, value_edge=self.store.value_edge)
        asked |= {"sort": filters.order(), "limit": str(_PAGE_ROWS)}
        try:
            text, cursor = await self.store.client.csv("/predict/cards/", asked)
        except ApiFailure as failure:
            self.fail(failure)
            return
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="matches.csv"')
        self.write(_BOM + await asyncio.to_thread(format_for_people, text))
        while cursor:
            await self.flush()
            text, cursor = await self.store.client.csv("/predict/cards/", asked | {"cursor": cursor})
            self.write(await asyncio.to_thread(format_for_people, text, with_head=False))


class DriftReport(_Passed):
    """`drift-report`: the newest drift report as a page for people."""

    async def get(self) -> None:
        """The report; it may show itself, and may not reach this server in the reader's name."""
        try:
            reply = await self.store.client.get("/monitoring/drift/report", {}, media="text/html")
        except ApiFailure as failure:
            self.fail(failure)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", "sandbox allow-scripts")
        self.finish(reply.body or b"")


def format_for_people(text: str, *, with_head: bool = True) -> str:
    """Return CSV of the API as a person reads it in a spreadsheet.

    Numbers have four decimals. An id, of which a spreadsheet would round the last digits, is a text: an apostrophe
    stands in front. Columns that only the service needs are left out. Formulas are escaped already, by the API.
    """
    rows = csv.reader(io.StringIO(text, newline=""))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    head = next(rows, [])
    shown = [place for place, name in enumerate(head) if name not in _INTERNALS]
    if with_head:
        writer.writerow([head[place] for place in shown])
    writer.writerows([_format_cell(head[place], row[place]) for place in shown] for row in rows)
    return out.getvalue()


def _format_cell(name: str, cell: str) -> str:
    if name == "match_id":
        return f"'{cell}"
    if name not in _TEXTS and _DECIMAL.fullmatch(cell):
        return f"{float(cell):.{_N_DECIMALS}f}"
    return cell


def handlers(store: Store) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Addresses beside the page's own."""
    return [(r"/cards\.csv", CardsCsv, {"store": store}), (r"/drift-report", DriftReport, {"store": store})]
