"""What the processes of a pool have counted: told to the supervisor through pipes, and served by it at /metrics."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import orjson

from app.telemetry.exposition import State
from app.telemetry.pool import PoolMetrics, WorkerMetrics, read_state

log = logging.getLogger(__name__)

TELL_EVERY_S = 1.0
Scrape = Callable[[], PoolMetrics]


async def tell(metrics: WorkerMetrics, pipe: Connection) -> None:
    """Tell the supervisor for ever; in a thread, for a pipe that nobody reads fills up."""
    while True:
        try:
            await asyncio.to_thread(pipe.send_bytes, orjson.dumps(metrics.registry.state()))
        except OSError:
            return  # the supervisor is gone, and this process will follow it
        await asyncio.sleep(TELL_EVERY_S)


def told(pipe: Connection) -> State | None:
    """The last that a process has told since the last time; None when it has told nothing."""
    last = None
    try:
        while pipe.poll():
            last = pipe.recv_bytes()
    except (EOFError, OSError):
        pass  # it has ended; what it said before still counts
    return None if last is None else read_state(orjson.loads(last))


def serve_metrics(host: str, port: int, scrape: Scrape) -> ThreadingHTTPServer | None:
    """Serve what `scrape` gives at /metrics, in threads of their own; None when the port cannot be had."""
    handler = type("Handler", (_Handler,), {"scrape": staticmethod(scrape)})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        # another pool of this machine has it; work goes on, and somebody should know
        log.warning("no metrics: cannot listen on %s:%d: %s", host, port, error.strerror)
        return None
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    scrape: Scrape
    timeout = 5.0  # a scraper sends its one line at once
    server_version, sys_version = "touchline", ""

    def do_GET(self) -> None:  # the base class's name
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body, media_type = self.scrape().text()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """A scrape every few seconds is no news."""
