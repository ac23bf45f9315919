"""The server of the match page: its life cycle, the CSV download and the drift report."""

import asyncio
import csv
import errno
import io
import logging
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import panel as pn
from bokeh.server.server import Server
from bokeh.settings import settings as bokeh_settings
from panel.io.application import build_applications
from panel.template import Template
from tornado.web import RequestHandler
from yarl import URL

from app.client import ApiFailure, ApiRequest, TouchlineClient
from app.settings import Settings
from app.telemetry.page import PageMetrics
from dashboards.change_feed import ChangeFeed
from dashboards.filters import Filters, Params, parse_time_zone
from dashboards.login import check_exposure, login_options, require_login
from dashboards.metrics import MetricsHandler, trace_requests
from dashboards.pages import TITLE, FirstScreens, build_page
from dashboards.static import FileCache, list_routes
from dashboards.store import TTL_S, Store

CLEAN_UP_MS = 5000  # between looks for sessions whose window was closed; Panel keeps each for another 15 s
_BOM = "\ufeff"  # without it a spreadsheet takes UTF-8 for something else
_PAGE_ROWS = 1000
# the service's own bookkeeping
_INTERNALS = frozenset({"model_run_id", "model_stage", "computed_at"})
_DECIMAL = re.compile(r"-?\d+(\.\d+(e[+-]?\d+)?|e[+-]?\d+)")
_TEXTS = frozenset({"region", "tournament", "season", "home_team", "away_team", "bookmaker", "model_version"})
_N_DECIMALS = 4
_MAX_QUERY = 2000


class PortInUse(Exception):
    """Another process listens on the port of the page."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host} is in use: set DASHBOARD_PORT to a free one, or stop what listens there."
        )


async def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    check_exposure(settings)
    _set_up_logging(settings.log_level)
    async with open_server(settings) as server:
        sys.stdout.write(f"Match page on http://{settings.dashboard_host}:{server.port}, API at {settings.api_url}\n")
        sys.stdout.flush()
        await _wait_for_signal()


@asynccontextmanager
async def open_server(settings: Settings, *, ttl_s: float = TTL_S) -> AsyncIterator[Server]:
    """Run the server; sessions share an answer of the API for `ttl_s`."""
    metrics = PageMetrics()
    traces = [trace_requests(metrics)]
    # no patience: a reader sees at once why there is no answer, and the page asks again by itself
    async with TouchlineClient(settings.api_url, key=settings.api_key, patience_s=0, traces=traces) as client:
        store = Store(client, ttl_s=ttl_s)
        feed = ChangeFeed(client, on_change=store.invalidate)
        server = _create_server(store, feed, metrics, settings)
        server.start()
        following = asyncio.create_task(feed.follow())
        try:
            yield server
        finally:
            server.stop()
            following.cancel()
            await asyncio.wait([following])


def _create_server(store: Store, feed: ChangeFeed, metrics: PageMetrics, settings: Settings) -> Server:
    bokeh_settings.resources = "server"  # no address but this server's is ever loaded
    host = settings.dashboard_host
    port = _claim_port(host, settings.dashboard_port)
    public_url = _public_url(settings)

    def page() -> Template:  # Panel asks for a plain function: a partial would be taken for a parameterised pane
        return build_page(store, feed, first_screens, api_url=public_url)

    first_screens = FirstScreens(store)
    applications = build_applications({"/": page}, title=TITLE, location=False)  # the browser keeps its address bar
    applications["/"].add(first_screens)

    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        server = pn.io.server.get_server(
            applications,
            address=host,
            port=port,
            websocket_origin=_allowed_origins(host, port, settings.dashboard_origins),
            extra_patterns=[
                *require_login(_list_handlers(store), settings),
                ("/metrics", MetricsHandler, {"metrics": metrics}),
            ],
            **login_options(settings),
            compress_response=True,  # of what is no file: the page itself, CSV
            session_history=0,  # else the list of closed sessions grows for ever
            check_unused_sessions_milliseconds=CLEAN_UP_MS,
        )
    finally:
        signal.signal(signal.SIGINT, on_interrupt)  # Panel takes Ctrl-C for itself
    server._tornado.add_handlers(".*", list_routes(FileCache()))  # before Bokeh's own, which compress nothing
    return server


def _allowed_origins(host: str, port: int, others: Sequence[str]) -> list[str]:
    """Return the origins whose pages may open a socket here."""
    return [*(f"{name}:{port}" for name in sorted({host, "localhost", "127.0.0.1"})), *others]


def _public_url(settings: Settings) -> str:
    """Return the address of the API to show to readers: never one inside a cluster; empty where there is none."""
    if settings.api_public_url:
        return settings.api_public_url.rstrip("/")
    is_local = (URL(settings.api_url).host or "") in {"localhost", "127.0.0.1", "::1"}
    return settings.api_url.rstrip("/") if is_local else ""


def _claim_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0: the origin of the page must be known before it is served."""
    try:
        with socket.create_server((host, port)) as probe:
            claimed: int = probe.getsockname()[1]
            return claimed
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from error
        raise


def _set_up_logging(level: str) -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True)
    for chatty in ("bokeh", "panel", "tornado.access"):  # a line for every script, socket and session
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(level)))


async def _wait_for_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


class _ApiHandler(RequestHandler):
    """Passes on an answer of the API; answers a failure as a sentence."""

    def initialize(self, store: Store) -> None:
        """Tornado's constructor."""
        self.store = store

    def fail(self, failure: ApiFailure) -> None:
        """Answer 502 with the reason as text."""
        self.set_status(502)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{failure.reason}\n")


class CardsCsvHandler(_ApiHandler):
    """`cards.csv?<filters of the page>&zone=<time zone>`: exactly the filtered matches, streamed."""

    async def get(self) -> None:
        """Stream the rows; a failure after the first page cuts the file short, so that a client notices."""
        filters = Filters()
        filters.read_url(self.request.query[:_MAX_QUERY])
        zone = parse_time_zone(self.get_query_argument("zone", ""))
        params = filters.api_params(now=datetime.now(UTC), zone=zone)
        params |= {"sort": filters.api_sort(), "limit": str(_PAGE_ROWS)}
        try:
            text, cursor = await self._read_page(params)
        except ApiFailure as failure:
            self.fail(failure)
            return
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="matches.csv"')
        self.write(_BOM + await asyncio.to_thread(format_for_people, text))
        while cursor:
            await self.flush()
            text, cursor = await self._read_page(params | {"cursor": cursor})
            self.write(await asyncio.to_thread(format_for_people, text, with_head=False))

    async def _read_page(self, params: Params) -> tuple[str, str | None]:
        reply = await self.store.client.send(ApiRequest("/predict/cards/", params, media="text/csv"))
        return (reply.body or b"").decode(), reply.next_cursor


class DriftReportHandler(_ApiHandler):
    """`drift-report`: the newest drift report as HTML."""

    async def get(self) -> None:
        """Answer with the report in a sandbox: its scripts cannot reach this server."""
        try:
            reply = await self.store.client.send(ApiRequest("/monitoring/drift/report", media="text/html"))
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


def _list_handlers(store: Store) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Return the routes besides the page."""
    return [
        (r"/cards\.csv", CardsCsvHandler, {"store": store}),
        (r"/drift-report", DriftReportHandler, {"store": store}),
    ]
