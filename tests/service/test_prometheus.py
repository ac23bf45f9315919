"""A real Prometheus reads the running API and evaluates our rules over it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from infra.local.children import Child, Command
from infra.local.ports import free_port
from infra.tools.promtool import prometheus
from tests.support.serving import Client, until

pytestmark = pytest.mark.timeout(600)
RULES = Path(__file__).parents[2] / "infra" / "prometheus" / "rules.yaml"


def configuration(target: str) -> str:
    """One target, looked at every second."""
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "touchline-api", "static_configs": [{"targets": [target]}]}],
        }
    )


@pytest.fixture
async def server(client: Client, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a Prometheus that scrapes the API."""
    binary = await asyncio.to_thread(prometheus)
    port = free_port()
    await asyncio.to_thread((tmp_path / "prometheus.yml").write_text, configuration(f"127.0.0.1:{client.port}"))
    arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    command = [str(binary), *arguments, f"--web.listen-address=127.0.0.1:{port}"]
    child = await asyncio.to_thread(Child, Command("prometheus", command, log=tmp_path / "log"))
    yield f"http://127.0.0.1:{port}"
    await asyncio.to_thread(child.stop)


async def asked(url: str, **params: str) -> Any:
    """The data of an answer; None while it does not listen."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url, params=params) as response:
            return (await response.json())["data"] if response.status == 200 else None
    except aiohttp.ClientError:
        return None


async def value(server: str, query: str) -> float | None:
    """The one value that a query gives now."""
    data = await asked(f"{server}/api/v1/query", query=query)
    return float(data["result"][0]["value"][1]) if data and data["result"] else None


async def test_it_scrapes_the_api_and_takes_the_rules(client: Client, server: str) -> None:
    await client.get("/predict/cards/")

    async def has_answers() -> bool:
        return (await value(server, 'sum(http_requests_total{route="/predict/cards/"})')) == 1

    await until(has_answers, timeout_s=60)
    assert await value(server, "up") == 1
    assert await value(server, "snapshot_matches") == 60
    assert await value(server, "snapshot_fault") == 0
    groups = (await asked(f"{server}/api/v1/rules"))["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} <= {"ok", "unknown"}
    assert sum(len(group["rules"]) for group in groups) > 25
