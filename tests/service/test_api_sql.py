"""SQL over HTTP: answers in every form, from the snapshot being served, and processes that come and go."""

import asyncio
import os
import signal
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from app import appkeys
from app.sql.service import QueryProcessPool
from tests.service.test_api_snapshots import publish
from tests.support.build_artifacts import FEATURE_NAMES
from tests.support.serving import Client, Serve, json_of, until
from tests.support.waiting import is_alive

pytestmark = pytest.mark.timeout(600)  # each starts processes, on a machine that may be busy
SLOW = "SELECT count(*) FROM range(100000000) a(i), range(1000000) b(j) WHERE i * j = 7"


@pytest.fixture
async def client(serve: Serve) -> Client:
    """An API that takes SQL."""
    return await serve(sql_enabled=True, sql_timeout_s=30)


def pool_of(client: Client) -> QueryProcessPool:
    service = client.app[appkeys.SQL]
    assert service is not None
    return service.pool


async def ask(client: Client, sql: str, status: int = 200, **more: object) -> Any:
    async with client.post("/sql", json={"sql": sql} | more) as response:
        assert response.status == status, await response.text()
        return await response.json()


def sql_processes() -> list[psutil.Process]:
    """Those that run queries and the one they are forked from; a test's Redis may be another child of ours."""
    return [child for child in psutil.Process().children(recursive=True) if "app.sql" in child.cmdline()]


def sql_parent() -> psutil.Process:
    """The one that they are forked from."""
    (parent,) = [child for child in psutil.Process().children() if "app.sql" in child.cmdline()]
    return parent


async def test_sql_is_off_unless_it_is_allowed(serve: Serve) -> None:
    client = await serve()
    async with client.post("/sql", json={"sql": "SELECT 1"}) as response:
        assert (response.status, (await response.json())["code"]) == (403, "sql-off")
    assert sql_processes() == []


async def test_views_hold_what_the_endpoints_answer(client: Client) -> None:
    cards = (await json_of(client, "/predict/cards/", limit=199))["items"]
    found = await ask(client, "SELECT match_id, best_edge FROM cards ORDER BY kickoff_utc, match_id")
    assert found["columns"] == [{"name": "match_id", "type": "int64"}, {"name": "best_edge", "type": "double"}]
    edges = [card["money"]["best_edge"] if card["money"] else None for card in cards]
    assert found["rows"] == [[card["match_id"], edge] for card, edge in zip(cards, edges, strict=True)]
    odds = await ask(client, "FROM odds SELECT match_id")
    listed = (await json_of(client, "/predict/odds/"))["items"]
    assert sorted(row[0] for row in odds["rows"]) == sorted(item["match_id"] for item in listed)
    counted = "SELECT (SELECT count(*) FROM predictions), (SELECT count(DISTINCT region) FROM region_roi)"
    assert (await ask(client, counted))["rows"] == [[60, 3]]


async def test_features_are_there_for_who_names_them(client: Client) -> None:
    found = await ask(client, "SELECT * FROM features JOIN predictions USING (match_id) LIMIT 1")
    assert [column["name"] for column in found["columns"]][1 : 1 + len(FEATURE_NAMES)] == list(FEATURE_NAMES)


async def test_answer_names_its_snapshot_and_counts_its_rows(client: Client) -> None:
    served = (await json_of(client, "/predict/odds/"))["snapshot"]["id"]
    async with client.post("/sql", json={"sql": "FROM range(7)"}) as response:
        assert response.headers["Touchline-Snapshot"] == served
        assert response.headers["X-Total-Count"] == "7"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("by", ["format", "Accept"])
async def test_answers_come_as_csv_and_arrow_too(client: Client, by: str) -> None:
    async def table_of(form: str, media: str) -> pa.Table:
        body = {"sql": "SELECT match_id, kickoff_utc FROM cards"} | ({"format": form} if by == "format" else {})
        async with client.post("/sql", json=body, headers={"Accept": media} if by == "Accept" else {}) as response:
            assert (response.status, response.content_type) == (200, media)
            raw = BytesIO(await response.read())
        return pa_csv.read_csv(raw) if form == "csv" else pa.ipc.open_stream(raw).read_all()

    as_csv, as_arrow = await table_of("csv", "text/csv"), await table_of("arrow", "application/vnd.apache.arrow.stream")
    assert as_csv["match_id"].to_pylist() == as_arrow["match_id"].to_pylist()
    assert as_csv.num_rows == 60
    assert str(as_csv["kickoff_utc"][0]).startswith(str(as_arrow["kickoff_utc"][0])[:19])


async def test_new_snapshot_is_asked_from_then_on(client: Client, artifacts: Path, tmp_path: Path) -> None:
    """Databases of the last two are kept."""
    for n in (61, 62, 63):
        await asyncio.to_thread(publish, artifacts, n_matches=n)
        await client.app[appkeys.SNAPSHOTS].refresh()
        assert (await ask(client, "SELECT count(*) FROM cards"))["rows"] == [[n]]
    kept = await asyncio.to_thread(lambda: sorted(path.name[:5] for path in (tmp_path / "home/cache/sql").iterdir()))
    assert kept == ["base-"] * 2


async def test_queries_past_the_limit_are_refused_at_once(serve: Serve) -> None:
    client = await serve(sql_enabled=True, sql_concurrency=1, sql_timeout_s=30)
    slow = asyncio.create_task(ask(client, SLOW))

    async def is_running() -> bool:
        return pool_of(client).running == 1

    await until(is_running, timeout_s=60)
    async with client.post("/sql", json={"sql": "SELECT 1"}) as response:
        assert (response.status, (await response.json())["code"]) == (503, "sql-busy")
        assert int(response.headers["Retry-After"]) > 0
    slow.cancel()


async def ask_slowly(client: Client, status: int = 200) -> tuple[asyncio.Task[Any], psutil.Process]:
    """A query under way and the process that runs it."""
    busy: list[psutil.Process] = []

    async def is_alone() -> bool:
        busy[:] = await asyncio.to_thread(lambda: sql_parent().children())
        return pool_of(client).running == len(busy) == 1

    slow = asyncio.create_task(ask(client, SLOW, status))
    await until(is_alone, timeout_s=60)
    return slow, busy[0]


async def test_query_that_brings_down_its_process_is_answered(client: Client) -> None:
    slow, process = await ask_slowly(client, status=422)
    os.kill(process.pid, signal.SIGSEGV)
    answer = await slow
    assert answer["code"] == "sql-rejected"
    assert "exit code -11" in answer["detail"]
    assert (await ask(client, "SELECT 1"))["rows"] == [[1]]


async def test_query_past_its_processor_time_took_too_long(client: Client) -> None:
    slow, process = await ask_slowly(client, status=504)
    os.kill(process.pid, signal.SIGXCPU)  # as the kernel does then
    assert (await slow)["code"] == "sql-timeout"


async def test_query_whose_caller_has_gone_is_killed(client: Client) -> None:
    slow, process = await ask_slowly(client)
    slow.cancel()

    async def is_gone() -> bool:
        return not is_alive(process) and pool_of(client).running == 0

    await until(is_gone, timeout_s=60)
    assert (await ask(client, "SELECT 1"))["rows"] == [[1]]


async def test_queries_go_on_when_the_process_they_are_forked_from_is_killed(client: Client) -> None:
    slow, process = await ask_slowly(client, status=422)
    parent = await asyncio.to_thread(sql_parent)
    parent.kill()
    assert (await slow)["code"] == "sql-rejected"
    assert (await ask(client, "SELECT 1"))["rows"] == [[1]]
    assert (await asyncio.to_thread(sql_parent)).pid != parent.pid
    assert not is_alive(process)


async def test_forks_share_nothing_that_is_random(client: Client) -> None:
    """What the process they come from has drawn, all of them would go on from."""
    sql = "SELECT uuid()::VARCHAR, random()"
    first, second = [await ask(client, sql) for _ in range(2)]
    assert first["rows"][0][0] != second["rows"][0][0]
    assert first["rows"][0][1] != second["rows"][0][1]


async def test_service_that_stops_leaves_no_process(client: Client) -> None:
    assert (await ask(client, "SELECT 1"))["rows"] == [[1]]
    slow, _ = await ask_slowly(client)
    slow.cancel()
    await client.close()
    assert await asyncio.to_thread(sql_processes) == []


async def test_without_artifacts_there_is_nothing_to_ask(serve: Serve, tmp_path: Path) -> None:
    client = await serve(sql_enabled=True, artifacts_uri=str(tmp_path / "nowhere"))
    assert (await ask(client, "SELECT 1", status=503))["code"] == "snapshot-unavailable"
