"""The tools for assistants, asked by the protocol's own client over both transports, against a running service."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, get_default_environment
from mcp.client.streamable_http import streamable_http_client

from app.client import TouchlineClient
from app.mcp.tools import MAX_SQL_ROWS, TOOLS, build_server
from infra.local.ports import free_port
from infra.tools.sbom import ROOT
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)
KEY = "a-secret-of-this-test"


@pytest.fixture(scope="module")
def environment(keyed_url: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    url, key = keyed_url
    home = str(tmp_path_factory.mktemp("mcp"))
    given = {"API_URL": url, "API_KEY": key, "TOUCHLINE_HOME": home, "TOUCHLINE_PYTHON": sys.executable}
    return get_default_environment() | given | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def http_url(environment: dict[str, str]) -> Iterator[str]:
    """The address of `scripts/mcp --http`."""
    port = free_port()
    process = subprocess.Popen(
        [ROOT / "scripts" / "mcp", "--http"], env=environment | {"MCP_PORT": str(port), "MCP_KEY": KEY}
    )
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        assert eventually(lambda: process.poll() is not None or answers(url), 120)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx2.post(url).status_code == 401
    except httpx2.TransportError:
        return False


@asynccontextmanager
async def over_stdio(environment: dict[str, str]) -> AsyncIterator[Client]:
    command = StdioServerParameters(command=str(ROOT / "scripts" / "mcp"), env=environment)
    async with Client(command) as client:
        yield client


@asynccontextmanager
async def over_http(url: str, key: str = KEY) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


async def call(client: Client, tool: str, **arguments: object) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def check_answers(client: Client) -> None:
    """What an assistant would do: find names, look at cards, ask for one match and for the money."""
    facets = await call(client, "list_facets")
    region = facets["items"][0]["region"]
    cards = await call(client, "list_cards", query={"region": [region], "limit": 2, "sort": "-edge"})
    assert {card["region"] for card in cards["items"]} == {region}
    assert len(cards["items"]) == 2
    assert cards["age"]["snapshot_id"]
    assert cards["age"]["built_age_h"] > 0
    match_id = cards["items"][0]["match_id"]
    forecast = await call(client, "get_forecast", match_id=match_id)
    assert sum(forecast["probabilities"].values()) == pytest.approx(1)
    assert (await call(client, "get_match_history", match_id=match_id))["match_id"] == match_id
    roi = await call(client, "get_roi", query={"staking": "flat"})
    assert {"roi_ci_low", "roi_ci_high", "n_bets"} <= roi.keys()
    rows = await call(client, "run_sql", sql=f"SELECT count(*) FROM predictions WHERE match_id = {match_id}")
    assert (rows["rows"], rows["age"]["snapshot_id"]) == ([[1]], cards["age"]["snapshot_id"])


async def test_an_assistant_asks_over_standard_input_and_output(environment: dict[str, str]) -> None:
    async with over_stdio(environment) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == [tool.__name__ for tool in TOOLS]
        for tool in tools:
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            assert tool.description
        assert client.instructions is not None
        assert "age" in client.instructions
        await check_answers(client)


async def test_an_assistant_asks_over_http_with_the_key(http_url: str) -> None:
    async with over_http(http_url) as client:
        await check_answers(client)


@pytest.mark.parametrize("header", [None, "Bearer wrong", KEY, f"Basic {KEY}", f"Bearer {KEY}x"])
async def test_nobody_without_the_key_is_answered(http_url: str, header: str | None) -> None:
    async with httpx2.AsyncClient() as http:
        answer = await http.post(http_url, headers={} if header is None else {"Authorization": header}, json={})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="touchline"'


@pytest.mark.parametrize("key", ["", "too-short"])
def test_without_a_good_key_nothing_is_served_over_http(environment: dict[str, str], key: str) -> None:
    command = [ROOT / "scripts" / "mcp", "--http"]
    done = subprocess.run(command, env=environment | {"MCP_KEY": key}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "MCP_KEY" in done.stderr


@asynccontextmanager
async def watched(keyed_url: tuple[str, str]) -> AsyncIterator[tuple[Client, list[tuple[str, str]]]]:
    """The tools in this process, and what they have sent to the service."""
    sent: list[tuple[str, str]] = []

    async def note(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
        sent.append((params.method, params.url.path))

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    url, key = keyed_url
    async with TouchlineClient(url, key=key, traces=[trace]) as api, Client(build_server(api)) as client:
        yield client, sent


async def test_every_tool_answers_with_its_age_and_changes_nothing(keyed_url: tuple[str, str]) -> None:
    async with watched(keyed_url) as (client, sent):
        match_id = (await call(client, "list_cards"))["items"][0]["match_id"]
        needed = {
            "get_forecast": {"match_id": match_id},
            "get_match_history": {"match_id": match_id},
            "run_sql": {"sql": "SELECT 1"},
        }
        for tool in (await client.list_tools()).tools:
            assert "age" in await call(client, tool.name, **needed.get(tool.name, {}))
    assert {method for method, path in sent if path != "/sql"} == {"GET"}
    # a live prediction is a GET too, but the ledger records it
    assert not [path for _, path in sent if re.fullmatch(r"/predict/\d+", path)]


async def test_a_long_answer_of_sql_is_cut_and_says_so(keyed_url: tuple[str, str]) -> None:
    async with watched(keyed_url) as (client, _):
        whole = await call(client, "run_sql", sql="SELECT * FROM range(7)")
        cut = await call(client, "run_sql", sql=f"SELECT * FROM range({MAX_SQL_ROWS + 1})")
    assert (len(whole["rows"]), whole["truncated"]) == (7, False)
    assert (len(cut["rows"]), cut["n_rows"], cut["truncated"]) == (MAX_SQL_ROWS, MAX_SQL_ROWS + 1, True)


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("get_forecast", {"match_id": 999_999_999}, "match-not-found"),
        ("run_sql", {"sql": "DROP TABLE cards"}, "sql-rejected"),
        ("list_region_roi", {"as_of": "1999-01-01T00:00:00Z"}, "as-of-unknown"),
        ("list_cards", {"query": {"leg_spread": 1}}, "leg_spread"),
        ("list_cards", {"query": {"limit": 1000}}, "limit"),
    ],
)
async def test_what_fails_is_told_in_words_and_code(
    keyed_url: tuple[str, str], tool: str, arguments: dict[str, object], code: str
) -> None:
    async with watched(keyed_url) as (client, _):
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert code in result.content[0].text


async def test_an_unreachable_service_is_told(tmp_path: Path) -> None:
    async with TouchlineClient("http://127.0.0.1:1") as api, Client(build_server(api)) as client:
        for tool, arguments in (("get_status", {}), ("run_sql", {"sql": "SELECT 1"})):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert "unreachable" in result.content[0].text
