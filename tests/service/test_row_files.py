"""Rows written once as JSON: the same bytes as DuckDB gives, and nothing lost where they cannot be written."""

import asyncio
import gzip
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import brotli
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import appkeys
from app.store import cards, match_history, predictions
from app.store.compression import zstd
from app.store.database import open_connection
from app.store.response_cache import ResponseCache
from app.store.row_files import RowFiles, RowSource, row_source
from app.store.snapshot import Snapshot
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.serving import Client, Serve

PER_REQUEST = {"date", "x-request-id", "traceparent"}
UNPACK = {"identity": bytes, "gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress}
N = 120


def snapshot_of(client: Client) -> Snapshot:
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    return snapshot


@contextmanager
def without_row_files(client: Client) -> Iterator[None]:
    """The same snapshot as it is before its rows are written."""
    held = client.app[appkeys.SNAPSHOTS]._held
    assert held is not None
    with_files = held.snapshot
    held.snapshot = replace(with_files, row_files=None, response_cache=ResponseCache())
    try:
        yield
    finally:
        held.snapshot = with_files


@pytest.fixture(params=[True, False], ids=["with history", "without"])
async def written(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Client:
    """The API over matches with a history and without, their rows written."""
    client = await serve(
        artifacts_uri=str(write_artifacts(tmp_path / "many", n_matches=N, with_history=request.param)),
        value_edge=0.01,
    )
    files = snapshot_of(client).row_files
    assert files is not None
    await asyncio.to_thread(files.wait)
    assert files.fault is None
    return client


async def assert_same(client: Client, path: str, **headers: str) -> None:
    """With row files and without: the same status, headers and bytes."""

    async def get() -> tuple[int, dict[str, str], bytes]:
        named = {"Accept-Encoding": "identity"} | headers
        async with client.get(path, headers=named, auto_decompress=False) as response:
            body = await response.read()
            if response.status >= 400:
                body = orjson.dumps(orjson.loads(body) | {"request_id": None})
            kept = {name: value for name, value in response.headers.items() if name.lower() not in PER_REQUEST}
            return response.status, kept, body

    fast = await get()
    with without_row_files(client):
        slow = await get()
    assert fast == slow, path
    if fast[0] == 200:
        (tag,) = (value for name, value in fast[1].items() if name.lower() == "etag")
        async with client.get(path, headers=headers | {"If-None-Match": tag}) as response:
            assert response.status == 304


async def test_every_match_by_id(written: Client) -> None:
    for match_id in range(FIRST_ID, FIRST_ID + N):
        await assert_same(written, f"/predict/precomputed/{match_id}")
        await assert_same(written, f"/predict/odds/{match_id}/history")


@pytest.mark.parametrize(
    "match_id", ["5", "0", str(2**63 - 1), str(2**63), "-1", "x", "1e3", "%31", f"+{FIRST_ID}", f"0{FIRST_ID}"]
)
@pytest.mark.parametrize("query", ["", "?as_of=2026-08-01T00:00:00Z", "?as_of=never", "?fields=match_id"])
async def test_ids_and_queries_that_are_no_plain_match(written: Client, match_id: str, query: str) -> None:
    await assert_same(written, f"/predict/precomputed/{match_id}{query}")
    await assert_same(written, f"/predict/odds/{match_id}/history{query}")


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "identity;q=0, gzip"])
async def test_codings(written: Client, coding: str) -> None:
    for path in (f"/predict/precomputed/{FIRST_ID}", "/predict/cards/?limit=100"):
        await assert_same(written, path, **{"Accept-Encoding": coding})


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*;q=0.1", "text/html,application/json;q=0.9", "text/csv", ""]
)
async def test_forms(written: Client, accept: str) -> None:
    for path in (f"/predict/precomputed/{FIRST_ID}", "/predict/cards/?limit=7", "/predict/predictions/"):
        await assert_same(written, path, Accept=accept)


@pytest.mark.parametrize("order", list(cards.Order))
async def test_every_page_of_every_order_and_filter(written: Client, order: cards.Order) -> None:
    filters = ("", "&status=upcoming", "&region=Italy", "&q=home%203", "&min_edge=0.02", "&value=true", "&q=nobody")
    forms = ("&devig=shin", "&fields=match_id,money", "&format=csv", "&format=ndjson")
    for chosen, form in [*itertools.product(filters, [""]), *itertools.product(["", "&q=home%203"], forms)]:
        path = f"/predict/cards/?sort={order.value}&limit=40{chosen}{form}"
        async with written.get(path) as response:
            assert response.status == 200
            following = response.headers.get("Link")
        await assert_same(written, path)
        if following:
            await assert_same(written, following[1:].partition(">")[0])


async def test_settings_are_in_the_rows(serve: Serve) -> None:
    """What is a value bet is said by settings, so each process writes its own."""
    found = []
    for edge in (0.0, 0.5):
        client = await serve(value_edge=edge)
        files = snapshot_of(client).row_files
        assert files is not None
        await asyncio.to_thread(files.wait)
        page = await cards.find_page(snapshot_of(client), cards.Selection(), cards.Page())
        assert page.written is not None
        rows = orjson.loads(b"[" + page.written + b"]")
        found.append(sum(row["money"] is not None and row["money"]["is_value"] for row in rows))
    assert found[0] > found[1] == 0


async def test_time_of_the_artifacts_not_of_the_clock_is_in_the_rows(written: Client) -> None:
    """Nothing of a card depends on when it is written: its ages are those of the artifacts' own time."""
    text = (cards.ROW_SOURCE.sql + "".join(source.sql for source in match_history.ROW_SOURCES)).lower()
    assert not {word for word in ("now()", "current_", "today", "random") if word in text}
    assert "now()" not in predictions.SHAPE.json()
    snapshot = snapshot_of(written)
    again = RowFiles(snapshot.folder / "again", snapshot.database._connection, [cards.ROW_SOURCE])
    again.start(after=lambda: None)
    await asyncio.to_thread(again.wait)
    for name in cards.ROW_SOURCE.names:
        first, second = snapshot.folder / f"rows/{name}.json", snapshot.folder / f"again/{name}.json"
        assert await asyncio.to_thread(first.read_bytes) == await asyncio.to_thread(second.read_bytes)
    await asyncio.to_thread(again.close)


async def test_files_go_with_their_snapshot(written: Client, tmp_path: Path) -> None:
    folder = snapshot_of(written).folder
    assert sorted(await asyncio.to_thread(os.listdir, folder / "rows")) == [
        f"{name}.{kind}"
        for name in ("cards", "history_odds", "history_predictions", "predictions")
        for kind in ("index", "json")
    ]
    await asyncio.to_thread(write_artifacts, tmp_path / "many", n_matches=N, seed=5)
    await written.app[appkeys.SNAPSHOTS].refresh()
    assert snapshot_of(written).folder != folder
    async with asyncio.timeout(60):
        while await asyncio.to_thread(folder.exists):  # noqa: ASYNC110  # removed by a thread
            await asyncio.sleep(0.02)


def written_rows(folder: Path, *sources: RowSource, sql: str = "") -> RowFiles:
    """Files of rows over a database of their own."""
    connection = open_connection()
    connection.execute(sql)
    files = RowFiles(folder, connection, sources)
    files.start(after=lambda: None)
    files.wait()
    return files


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(0, 40) | st.sampled_from([2**62, 2**63 - 1]), min_size=1, max_size=60), data=st.data())
def test_rows_of_any_order_are_found_and_gathered(tmp_path: Path, ids: list[int], data: st.DataObject) -> None:
    """A dictionary of lists is the oracle."""
    chosen = data.draw(st.lists(st.sampled_from(sorted(set(ids)))))
    listed = ", ".join(f"({match_id}, '{place} é \"', '{place / 7!r}'::DOUBLE)" for place, match_id in enumerate(ids))
    files = written_rows(
        tmp_path,
        row_source("rows", some="{place: place, x: x}"),
        sql=f"CREATE TABLE rows AS FROM (VALUES {listed}) AS given (match_id, place, x)",
    )
    file = files.get("some")
    assert file is not None
    expected: dict[int, list[bytes]] = {}
    for place, match_id in enumerate(ids):
        expected.setdefault(match_id, []).append(orjson.dumps({"place": f'{place} é "', "x": place / 7}))
    for match_id in {*ids, 41, 0}:
        assert file.find_all(match_id) == expected.get(match_id, [])
        assert file.find(match_id) == expected.get(match_id, [None])[0]
    assert file.gather(chosen) == b",".join(expected[match_id][0] for match_id in chosen)
    files.close()


def test_no_rows_leave_no_file_to_ask(tmp_path: Path) -> None:
    files = written_rows(tmp_path, row_source("(SELECT 1 AS match_id WHERE false)", some="{a: 1}"))
    assert (files.get("some"), files.fault) == (None, None)
    files.close()


def test_source_that_cannot_be_read_is_a_fault_and_leaves_nothing(tmp_path: Path) -> None:
    broken = row_source("(SELECT unnest(range(100000)) AS match_id)", some="{a: 1 / (99999 - match_id), b: error('x')}")
    files = written_rows(tmp_path, row_source("(SELECT 1 AS match_id)", good="{a: 1}"), broken)
    assert files.fault is not None
    assert files.get("some") is None
    assert (good := files.get("good")) is not None
    assert good.find(1) == b'{"a":1}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.index", "good.json"]
    files.close()


def test_writing_stops_when_nobody_wants_it_any_more(tmp_path: Path) -> None:
    files = RowFiles(
        tmp_path, open_connection(), [row_source("(SELECT unnest(range(100000000)) AS match_id)", some="{a: match_id}")]
    )
    files.start(after=lambda: None)
    while not (tmp_path / "some.json").exists():
        pass
    files.close()
    assert (files.get("some"), files.fault, list(tmp_path.iterdir())) == (None, None, [])


WHOLE = "/predict/predictions/"


async def whole_list(client: Client, coding: str) -> tuple[dict[str, str], bytes]:
    async with client.get(WHOLE, headers={"Accept-Encoding": coding}, auto_decompress=False) as response:
        assert response.status == 200
        return {name.lower(): value for name, value in response.headers.items()}, await response.read()


async def test_whole_list_is_its_file(written: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and tags are those of the stream that it replaces; a compressed one is made once, then sent as it is."""
    monkeypatch.setattr("app.api.responses.LARGEST_BYTES", 1000)
    with without_row_files(written):
        streams = {coding: await whole_list(written, coding) for coding in UNPACK}
    for coding, unpack in UNPACK.items():
        headers, body = streams[coding]
        assert headers["transfer-encoding"] == "chunked"
        first = await whole_list(written, coding)
        assert unpack(first[1]) == unpack(body)
        async with asyncio.timeout(60):
            while "content-length" not in (whole := await whole_list(written, coding))[0]:  # noqa: ASYNC110  # a thread makes it
                await asyncio.sleep(0.02)
        assert int(whole[0]["content-length"]) == len(whole[1])
        assert unpack(whole[1]) == unpack(body)
        for name in ("etag", "content-type", "vary", "cache-control", "touchline-snapshot"):
            assert whole[0][name] == headers[name]
        async with written.head(WHOLE, headers={"Accept-Encoding": coding}) as head:
            assert (head.status, head.headers["ETag"]) == (200, headers["etag"])
        known = {"Accept-Encoding": coding, "If-None-Match": headers["etag"]}
        async with written.get(WHOLE, headers=known) as response:
            assert response.status == 304


async def test_many_read_the_whole_list_at_once(written: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.responses.LARGEST_BYTES", 1000)
    found = await asyncio.gather(*(whole_list(written, "identity") for _ in range(40)))
    assert len({body for _, body in found}) == 1
    assert len(orjson.loads(found[0][1])["items"]) == N


async def test_whole_list_goes_out_though_its_snapshot_is_replaced(
    written: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who has begun to read reads to the end, from the files of the snapshot that was."""
    monkeypatch.setattr("app.api.responses.LARGEST_BYTES", 1000)
    _, expected = await whole_list(written, "identity")
    async with written.get(WHOLE, headers={"Accept-Encoding": "identity"}) as response:
        await asyncio.to_thread(write_artifacts, tmp_path / "many", n_matches=N, seed=6)
        await written.app[appkeys.SNAPSHOTS].refresh()
        assert await response.read() == expected


async def test_disk_without_room_for_a_compressed_list(written: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on being compressed for each who asks."""
    monkeypatch.setattr("app.api.responses.LARGEST_BYTES", 1000)
    _, plain = await whole_list(written, "identity")
    rows = snapshot_of(written).folder / "rows"
    await asyncio.to_thread((rows / "whole-0.gzip").mkdir)  # a file cannot be made there
    for _ in range(3):
        headers, body = await whole_list(written, "gzip")
        assert (headers["transfer-encoding"], gzip.decompress(body)) == ("chunked", plain)
    await asyncio.to_thread((rows / "whole-0.gzip").rmdir)


async def test_reader_who_leaves_amid_the_whole_list(written: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.responses.LARGEST_BYTES", 1000)
    _, expected = await whole_list(written, "identity")
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", written.port, limit=1024)
        writer.write(f"GET {WHOLE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readexactly(500)
        writer.transport.abort()
    assert (await whole_list(written, "identity"))[1] == expected
