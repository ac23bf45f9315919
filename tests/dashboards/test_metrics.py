"""The match page's /metrics."""

import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web

from app.client import ApiRequest, ApiSession
from app.settings import Settings
from app.telemetry.page import PageMetrics
from dashboards.metrics import trace_requests
from dashboards.server import open_server
from tests.dashboards.serving import serving
from tests.service.test_metrics import check


async def test_page_serves_metrics_without_opening_a_session(promtool: Path) -> None:
    async with open_server(Settings(dashboard_port=0)) as server, aiohttp.ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{server.port}/metrics") as response:
            text = await response.text()
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "page_sessions 0.0" in text
        assert await asyncio.to_thread(check, promtool, text) == ""
        assert not server.get_sessions("/")


async def test_questions_to_the_api_are_counted_by_status() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    metrics = PageMetrics()
    async with serving({"/x": answer}) as url, ApiSession(url, traces=[trace_requests(metrics)]) as client:
        await client.send(ApiRequest("/x"))
        assert dict(metrics.asked.state()) == {("200",): 1.0}
