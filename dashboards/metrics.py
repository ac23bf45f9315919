"""What the match page has counted: at /metrics of its own server, and about its questions to the API."""

import asyncio
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import aiohttp
from tornado.web import RequestHandler

from app.telemetry.page import PageMetrics


class Scrape(RequestHandler):
    """`GET /metrics`; opens no session."""

    def initialize(self, metrics: PageMetrics) -> None:
        """Where the numbers are."""
        self._metrics = metrics

    async def get(self) -> None:
        """All metrics, as Prometheus reads them."""
        server: Any = self.application
        self._metrics.sessions.set(len(server.get_sessions("/")))
        body, media_type = await asyncio.to_thread(self._metrics.text)
        self.set_header("Content-Type", media_type)
        self.write(body)


def counting(metrics: PageMetrics) -> aiohttp.TraceConfig:
    """Hooks that count and time each question."""
    trace = aiohttp.TraceConfig()

    async def start(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
        context.started = perf_counter()

    async def end(_: Any, context: SimpleNamespace, asked: aiohttp.TraceRequestEndParams) -> None:
        metrics.count(str(asked.response.status), perf_counter() - context.started)

    async def fail(_: Any, context: SimpleNamespace, _asked: Any) -> None:
        metrics.count("failed", perf_counter() - context.started)

    trace.on_request_start.append(start)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(fail)
    return trace
