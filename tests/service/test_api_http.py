"""What every bulk answer has: forms, entity tags, HEAD, bounded memory."""

from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from app import appkeys
from app.store.response_cache import LARGEST_BYTES
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import Client, Serve, json_of

LISTS = ["/predict/predictions/", "/predict/cards/", "/predict/odds/", "/predict/facets/", "/predict/region-roi/"]
CSV, ARROW = "text/csv", "application/vnd.apache.arrow.stream"
NDJSON, PARQUET = "application/x-ndjson", "application/vnd.apache.parquet"


def first_number(row: dict[str, Any]) -> Any:
    return row.get("match_id", row.get("n", row.get("n_bets")))


def rows_of(media: str, body: bytes) -> list[dict[str, Any]]:
    """The rows of a body in that form."""
    if media == NDJSON:
        return [orjson.loads(line) for line in body.splitlines()]
    if media == CSV:
        return pa_csv.read_csv(BytesIO(body)).to_pylist()
    table = pq.read_table(BytesIO(body)) if media == PARQUET else pa.ipc.open_stream(body).read_all()
    return table.to_pylist()


@pytest.mark.parametrize("path", LISTS)
async def test_every_form_has_the_same_rows_in_the_same_order(client: Client, path: str) -> None:
    expected = [first_number(item) for item in (await json_of(client, path))["items"]]
    for media in (CSV, ARROW, NDJSON, PARQUET):
        response = await client.get(path, headers={"Accept": media})
        assert response.content_type == media
        assert [first_number(row) for row in rows_of(media, await response.read())] == expected


async def test_times_are_written_alike_in_json_and_csv(client: Client) -> None:
    expected = [item["kickoff_utc"] for item in (await json_of(client, "/predict/cards/"))["items"]]
    body = await (await client.get("/predict/cards/", headers={"Accept": CSV})).text()
    header, *lines = [line.replace('"', "").split(",") for line in body.splitlines()]
    assert [line[header.index("kickoff_utc")] for line in lines] == expected


async def test_a_page_without_rows_is_sound_in_every_form(client: Client) -> None:
    for media in ("application/json", CSV, ARROW, NDJSON, PARQUET):
        response = await client.get("/predict/cards/?q=nobody", headers={"Accept": media})
        body = await response.read()
        assert (response.status, response.headers["X-Total-Count"]) == (200, "0")
        if media == CSV:
            assert body.startswith(b'"match_id","kickoff_utc"')
        elif media == "application/json":
            assert orjson.loads(body)["items"] == []
        else:
            assert rows_of(media, body) == []


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("*/*", "application/json"),
        ("text/*", CSV),
        ("text/html, text/csv;q=0.5", CSV),
        ("application/json;q=0.1, text/csv;q=0.9", CSV),
        ("text/csv;q=0, */*;q=0.1", "application/json"),
        ("TEXT/CSV", CSV),
    ],
)
async def test_form_is_the_one_the_client_likes_best(client: Client, accept: str, given: str) -> None:
    response = await client.get("/predict/odds/", headers={"Accept": accept})
    assert (response.status, response.content_type) == (200, given)


@pytest.mark.parametrize("accept", ["text/html", "image/*", "text/csv;q=0", "application/json;q=x"])
async def test_form_that_is_not_to_be_had_is_406(client: Client, accept: str) -> None:
    response = await client.get("/predict/odds/", headers={"Accept": accept})
    assert (response.status, (await response.json())["code"]) == (406, "not-acceptable")


@pytest.mark.parametrize("path", [*LISTS, "/predict/roi/"])
async def test_known_answer_is_304_and_asks_duckdb_nothing(client: Client, path: str) -> None:
    """With the database closed, only an answer that needs no query can still be given."""
    tag = (await client.get(path)).headers["ETag"]
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    snapshot.database._pool.shutdown()
    response = await client.get(path, headers={"If-None-Match": f'"other", W/{tag}'})
    assert (response.status, await response.read(), response.headers["ETag"]) == (304, b"", tag)
    again = await client.get(path)  # rendered once, kept as bytes
    assert (again.status, again.headers["ETag"]) == (200, tag)


async def test_tags_differ_when_bytes_do(client: Client) -> None:
    seen: dict[str, bytes] = {}
    for path in [
        *LISTS,
        "/predict/cards/?limit=5",
        "/predict/cards/?limit=5&sort=-edge",
        "/predict/roi/?staking=kelly",
    ]:
        for media in ("application/json", CSV):
            response = await client.get(path, headers={"Accept": f"{media}, */*;q=0.1"})
            tag, body = response.headers["ETag"], await response.read()
            assert seen.setdefault(tag, body) == body
    assert len(set(seen.values())) == len(seen)


async def test_same_question_in_other_words_has_the_same_tag(client: Client) -> None:
    tags = {
        (await client.get(f"/predict/cards/?{query}")).headers["ETag"]
        for query in ("region=Italy&limit=200", "limit=200&region=Italy", "region=Italy&sort=kickoff")
    }
    assert len(tags) == 1


async def test_head_is_get_without_the_body(client: Client) -> None:
    for path in LISTS:
        got, head = await client.get(path), await client.head(path)
        assert await head.read() == b""
        for name in ("ETag", "Content-Type", "Content-Length", "Vary", "Touchline-Snapshot"):
            assert head.headers[name] == got.headers[name]


async def test_next_page_is_in_the_link_header_too(client: Client) -> None:
    """CSV and Arrow have no other place for it."""
    joined: list[int] = []
    url = "/predict/cards/?limit=25&status=finished"
    while url:
        response = await client.get(url, headers={"Accept": CSV})
        joined += [row["match_id"] for row in pa_csv.read_csv(BytesIO(await response.read())).to_pylist()]
        following = response.links.get("next")
        url = str(following["url"].relative()) if following else ""
    whole = await json_of(client, "/predict/cards/", status="finished", limit=1000)
    assert joined == [card["match_id"] for card in whole["items"]]


@pytest.mark.timeout(600)
async def test_answer_too_large_to_keep_is_streamed_whole(serve: Serve, tmp_path: Path) -> None:
    folder = write_artifacts(tmp_path / "large", n_matches=20_000)
    client = await serve(artifacts_uri=str(folder))
    response = await client.get("/predict/predictions/")
    body = await response.read()
    assert len(body) > LARGEST_BYTES
    assert response.headers["Transfer-Encoding"] == "chunked"
    assert len({item["match_id"] for item in orjson.loads(body)["items"]}) == 20_000
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    assert snapshot.response_cache.size_bytes == 0
    for media in (NDJSON, CSV, ARROW, PARQUET):
        rows = rows_of(media, await (await client.get("/predict/predictions/", headers={"Accept": media})).read())
        assert len({row["match_id"] for row in rows}) == 20_000
    head = await client.head("/predict/predictions/")
    assert (head.status, head.headers["ETag"]) == (200, response.headers["ETag"])
    tag = response.headers["ETag"]
    snapshot.database._pool.shutdown()  # its tag does not need the bytes
    known = await client.get("/predict/predictions/", headers={"If-None-Match": tag})
    assert (known.status, known.headers["ETag"]) == (304, tag)


async def test_request_id_is_taken_or_made(client: Client) -> None:
    given = await client.get("/predict/odds/", headers={"X-Request-ID": "trace-7"})
    assert given.headers["X-Request-ID"] == "trace-7"
    forged = await client.get("/nowhere", headers={"X-Request-ID": "x" * 100})
    assert len(forged.headers["X-Request-ID"]) == 32
    assert (await forged.json())["request_id"] == forged.headers["X-Request-ID"]
