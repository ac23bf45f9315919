"""Metrics of the match page: the `/metrics` handler, and the hooks that count requests to the API.

Alone because Prometheus is another reader than those of the page.
"""

import asyncio
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import aiohttp
from tornado.web import RequestHandler

from app.telemetry.page import PageMetrics


class MetricsHandler(RequestHandler):
    """`GET /metrics`; opens no session."""

    def initialize(self, metrics: PageMetrics) -> None:
        """Take the metrics to publish."""
        self._metrics = metrics

    async def get(self) -> None:
        """Answer with all metrics as Prometheus text."""
        server: Any = self.application
        self._metrics.sessions.set(len(server.get_sessions("/")))
        body, media_type = await asyncio.to_thread(self._metrics.text)
        self.set_header("Content-Type", media_type)
        self.write(body)


def trace_requests(metrics: PageMetrics) -> aiohttp.TraceConfig:
    """Return hooks that count and time each request."""
    trace = aiohttp.TraceConfig()

    async def start(_session: aiohttp.ClientSession, context: SimpleNamespace, _: Any) -> None:
        context.started = perf_counter()

    async def end(_: Any, context: SimpleNamespace, end_params: aiohttp.TraceRequestEndParams) -> None:
        metrics.count(str(end_params.response.status), perf_counter() - context.started)

    async def fail(_: Any, context: SimpleNamespace, _params: Any) -> None:
        metrics.count("failed", perf_counter() - context.started)

    trace.on_request_start.append(start)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(fail)
    return trace
