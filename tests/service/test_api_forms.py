"""Which fields go out and in which form; and streams that fail on their way."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from aiohttp import ClientPayloadError, web

from app import appkeys
from app.api import responses
from app.api.responses import Content
from app.artifacts.contract import PREDICTIONS
from app.main import create_app
from app.settings import Settings
from app.store.fields import Listing, columns, computed_field
from app.store.snapshot import Snapshot
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import NO_REDIS, Client, Serve, json_of, until

FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"]


def rows_of(name: str, body: bytes) -> list[dict[str, Any]]:
    """The rows of a body in that format."""
    if name == "json":
        return list(orjson.loads(body)["items"])
    if name == "ndjson":
        return [orjson.loads(line) for line in body.splitlines()]
    if name == "csv":
        return pa_csv.read_csv(BytesIO(body)).to_pylist()
    table = pq.read_table(BytesIO(body)) if name == "parquet" else pa.ipc.open_stream(body).read_all()
    return table.to_pylist()


@pytest.mark.parametrize("name", FORMATS)
async def test_format_takes_the_place_of_accept(client: Client, name: str) -> None:
    whole = await json_of(client, "/predict/cards/", limit=7)
    response = await client.get(f"/predict/cards/?limit=7&format={name}", headers={"Accept": "text/html"})
    assert response.headers["Content-Disposition"] == f'attachment; filename="touchline-cards.{name}"'
    rows = rows_of(name, await response.read())
    assert [row["match_id"] for row in rows] == [card["match_id"] for card in whole["items"]]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/predict/cards/", "best_edge,match_id,kickoff_utc"),
        ("/predict/predictions/", "match_id,proba_home"),
        ("/predict/odds/", "bookmaker,odds_draw"),
        ("/predict/facets/", "tournament,n"),
        ("/predict/region-roi/", "region,too_few"),
    ],
)
async def test_fields_pick_columns_in_the_order_they_are_named(
    client: Client, name: str, path: str, fields: str
) -> None:
    rows = rows_of(name, await (await client.get(path, params={"fields": fields, "format": name})).read())
    assert rows
    assert all(",".join(row) == fields for row in rows)


async def test_object_named_as_a_field_is_its_columns_where_there_are_no_objects(client: Client) -> None:
    whole = (await json_of(client, "/predict/cards/"))["items"]
    picked = (await json_of(client, "/predict/cards/", fields="money,match_id"))["items"]
    assert picked == [{"money": card["money"], "match_id": card["match_id"]} for card in whole]
    body = await (await client.get("/predict/cards/?format=csv&fields=probabilities,region_roi")).text()
    header = "proba_home,proba_draw,proba_away,region_roi_pct,region_n_bets,region_roi_ci_low,region_roi_ci_high"
    assert body.splitlines()[0].replace('"', "") == header


@pytest.mark.parametrize("name", FORMATS)
async def test_unknown_field_is_named_with_those_there_are(client: Client, name: str) -> None:
    response = await client.get(f"/predict/cards/?format={name}&fields=match_id,edge,search_text")
    body = await response.json()
    assert (response.status, body["code"]) == (422, "invalid-request")
    assert "there is no edge, search_text" in body["detail"]
    assert "match_id, kickoff_utc" in body["detail"]
    assert "best_edge" in body["detail"]


async def test_text_that_a_spreadsheet_would_run_is_made_harmless_in_csv_alone(serve: Serve, tmp_path: Path) -> None:
    names = ["=1+1", "+cmd", "-Minus", "@SUM(A1)", 'Plain, "quoted"\nname', "Ünïcode"]

    def renamed(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("home_team")
        return table.set_column(place, "home_team", pa.array([names[n % len(names)] for n in range(len(table))]))

    client = await serve(artifacts_uri=str(write_artifacts(tmp_path / "odd", edit={PREDICTIONS: renamed})))
    query = {"fields": "home_team,best_edge", "sort": "edge"}
    body = await (await client.get("/predict/cards/", params=query | {"format": "csv"})).read()
    table = pa_csv.read_csv(BytesIO(body), parse_options=pa_csv.ParseOptions(newlines_in_values=True))
    assert set(table["home_team"].to_pylist()) == {"'=1+1", "'+cmd", "'-Minus", "'@SUM(A1)", *names[4:]}
    assert table["best_edge"][0].as_py() < 0  # a number keeps its sign
    plain_names = {card["home_team"] for card in (await json_of(client, "/predict/cards/", **query))["items"]}
    assert plain_names == set(names)


# far behind what is made before the head is sent, whatever the form, and what DuckDB's threads have read ahead by then
N_ROWS = 1_500_000
FAILS_AT = 1_400_000
FAILING = Listing(
    columns("n") | computed_field(word=f"CASE WHEN n = {FAILS_AT} THEN error('broken') ELSE md5(n::VARCHAR) END"),
    f"(SELECT range AS n FROM range({N_ROWS}))",
)


async def failing(request: web.Request) -> web.StreamResponse:
    async def find(_: Snapshot) -> Content:
        return Content({}, FAILING)

    return await responses.respond_from_snapshot(request, find)


@pytest.fixture
async def broken(aiohttp_client: Any, tmp_path: Path, artifacts: Path) -> Client:
    """The API with one more list, whose query fails far into it."""
    values = {"artifacts_uri": str(artifacts), "touchline_home": tmp_path / "home", "redis_url": NO_REDIS}
    app = create_app(Settings(**values))  # type: ignore[arg-type]  # pydantic checks them
    app.router.add_get("/failing", failing)
    client: Client = await aiohttp_client(app)
    await app[appkeys.SNAPSHOTS].refresh()
    return client


@pytest.mark.timeout(600)
@pytest.mark.parametrize("accept_encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/x-ndjson",
        "text/csv",
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet",
    ],
)
async def test_stream_that_fails_is_broken_off_and_never_ended(
    broken: Client, accept: str, accept_encoding: str
) -> None:
    """The client has an error, not a shorter answer that looks whole."""
    headers = {"Accept": accept, "Accept-Encoding": accept_encoding}
    response = await broken.get("/failing", headers=headers, auto_decompress=False)
    assert (response.status, response.headers["Transfer-Encoding"]) == (200, "chunked")
    with pytest.raises((ClientPayloadError, ConnectionResetError)):
        await response.read()
    assert (await broken.get("/predict/cards/")).status == 200


@pytest.mark.timeout(600)
async def test_reader_who_leaves_in_the_middle_frees_the_query(broken: Client) -> None:
    limiter = broken.app[appkeys.QUERY_LIMITER]
    response = await broken.get("/failing", headers={"Accept": "application/x-ndjson"})
    await response.content.read(1000)
    response.close()

    async def is_free() -> bool:
        return limiter.running == limiter.waiting == 0

    await until(is_free, timeout_s=60)
    await asyncio.sleep(0)
    assert (await broken.get("/predict/cards/")).status == 200
