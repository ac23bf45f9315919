"""The server of the match page: opens it, tells where it is, closes it."""

import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import panel as pn
from bokeh.server.server import Server
from bokeh.settings import settings as bokeh_settings
from panel.template import Template

from app.settings import Settings
from dashboards.client import ApiClient
from dashboards.downloads import handlers
from dashboards.feed import Feed
from dashboards.login import check_exposure, login_options, require_login
from dashboards.metrics import Scrape
from dashboards.pages import install_assets, match_page
from dashboards.store import TTL_S, Store

CLEAN_UP_MS = 5000  # between looks for sessions whose window was closed; Panel keeps each for another 15 s


class PortInUse(Exception):
    """Somebody else listens where the page should."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} on {host} is in use: set DASHBOARD_PORT to a free one, or stop what listens there."
        )


async def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    check_exposure(settings)
    _set_up_logging(settings.log_level)
    async with running(settings) as server:
        sys.stdout.write(f"Match page on http://{settings.dashboard_host}:{server.port}, API at {settings.api_url}\n")
        sys.stdout.flush()
        await _signal()


@asynccontextmanager
async def running(settings: Settings, *, ttl_s: float = TTL_S) -> AsyncIterator[Server]:
    """The server, listening; answers of the API are shared for `ttl_s`."""
    async with ApiClient(settings.api_url, key=settings.api_key) as client:
        store = Store(client, value_edge=settings.value_edge, ttl_s=ttl_s)
        feed = Feed(client, store)
        server = _open(store, feed, settings)
        server.start()
        following = asyncio.create_task(feed.follow())
        try:
            yield server
        finally:
            server.stop()
            following.cancel()
            await asyncio.wait([following])


def _open(store: Store, feed: Feed, settings: Settings) -> Server:
    bokeh_settings.resources = "server"  # no address but this server's is ever loaded
    install_assets()
    host = settings.dashboard_host
    port = _claim(host, settings.dashboard_port)

    def page() -> Template:  # Panel asks for a plain function: a partial would be taken for a parameterised pane
        return match_page(store, feed)

    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        return pn.io.server.get_server(
            {"/": page},
            address=host,
            port=port,
            websocket_origin=_origins(host, port, settings.dashboard_origins),
            extra_patterns=[
                *require_login(handlers(store), settings),
                ("/metrics", Scrape, {"metrics": store.client.metrics}),
            ],
            **login_options(settings),
            location=False,  # the browser keeps its address bar itself: one history entry per change
            session_history=0,  # else the list of closed sessions grows for ever
            check_unused_sessions_milliseconds=CLEAN_UP_MS,
        )
    finally:
        signal.signal(signal.SIGINT, on_interrupt)  # Panel takes Ctrl-C for itself


def _origins(host: str, port: int, others: Sequence[str]) -> list[str]:
    """Where a page may come from that opens a socket here."""
    return [*(f"{name}:{port}" for name in sorted({host, "localhost", "127.0.0.1"})), *others]


def _claim(host: str, port: int) -> int:
    """The port, or any when it is 0: the origin of the page must be known before it is served."""
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


async def _signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
