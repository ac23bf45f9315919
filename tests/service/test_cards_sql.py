"""The SQL of a filtered view gives the same rows wherever it is run."""

import csv
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.artifacts.contract import PREDICTIONS
from app.settings import Settings
from app.sql.cli.console import work
from app.sql.cli.export import ExportFormat
from app.store.database import open_connection, to_sql
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import Client, Serve, json_of

pytestmark = pytest.mark.timeout(600)  # starts processes, on a machine that may be busy
NASTY = "O'Brien; DROP TABLE cards --? \\' \" ${x} é"
VIEWS: list[dict[str, Any]] = [
    {},
    {"status": "upcoming", "sort": "-edge", "limit": 5},
    {"region": "England", "min_edge": 0.01, "value": "true"},
    {"from": "2026-08-10T00:00:00Z", "to": "2026-08-22T00:00:00Z", "sort": "-kickoff"},
    {"q": "ITALY hóme", "min_edge": 1e-7, "sort": "edge"},
    {"min_region_roi": -50, "tournament": "Premiership"},
    {"region": NASTY, "q": "o'brien; drop"},
    {"q": "?"},
    {"q": "%' OR true --"},
]


@pytest.fixture
async def client(serve: Serve, tmp_path: Path) -> Client:
    """An API that takes SQL, over matches of which some have a name that wants to be code."""

    def named(table: pa.Table) -> pa.Table:
        regions = [NASTY if i % 10 == 0 else name for i, name in enumerate(table["region"].to_pylist())]
        return table.set_column(table.column_names.index("region"), "region", [regions])

    artifacts = write_artifacts(tmp_path / "artifacts", edit={PREDICTIONS: named})
    return await serve(sql_enabled=True, sql_timeout_s=30, artifacts_uri=str(artifacts))


async def csv_of(client: Client, method: str, path: str, **more: Any) -> list[list[str]]:
    async with client.request(method, path, headers={"Accept": "text/csv"}, **more) as response:
        assert response.status == 200, await response.text()
        return list(csv.reader(StringIO(await response.text())))


@pytest.mark.parametrize("view", VIEWS, ids=range(len(VIEWS)))
async def test_rows_are_those_of_the_cards(client: Client, tmp_path: Path, view: dict[str, Any]) -> None:
    """Over HTTP, at POST /sql and in scripts/sql."""
    sql = (await json_of(client, "/predict/cards/sql", **view))["sql"]
    cards = await csv_of(client, "GET", "/predict/cards/", params={"limit": 1000} | view)
    asked = await csv_of(client, "POST", "/sql", json={"sql": sql})
    assert asked[0] == cards[0]
    assert [row[0] for row in asked] == [row[0] for row in cards]
    home = Settings(
        artifacts_uri=str(tmp_path / "artifacts"), touchline_home=tmp_path / "console", artifact_poll_s=3600
    )
    assert await work(home, sql, ExportFormat.CSV, tmp_path / "rows.csv") == 0
    assert list(csv.reader(StringIO((tmp_path / "rows.csv").read_text()))) == asked


async def test_numbers_are_those_of_the_cards_too(client: Client) -> None:
    sql = (await json_of(client, "/predict/cards/sql", sort="-edge", limit=20))["sql"]
    async with client.post("/sql", json={"sql": sql}) as response:
        found = await response.json()
    names = [column["name"] for column in found["columns"]]
    cards = (await json_of(client, "/predict/cards/", sort="-edge", limit=20))["items"]
    for row, card in zip(found["rows"], cards, strict=True):
        flat = dict(zip(names, row, strict=True))
        assert (flat["match_id"], flat["region"]) == (card["match_id"], card["region"])
        assert (flat["best_edge"], flat["fair_home"]) == (card["money"]["best_edge"], card["money"]["fair"]["home"])


async def test_sql_of_another_time_is_refused(client: Client) -> None:
    async with client.get("/predict/cards/sql", params={"as_of": "2026-08-01T00:00:00Z"}) as response:
        assert (response.status, (await response.json())["code"]) == (422, "invalid-request")


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(TEXTS | st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1))
def test_literal_is_the_value(value: str | float) -> None:
    connection = open_connection(threads=1)
    try:
        assert connection.execute(f"SELECT {to_sql(value)}").fetchall() == [(value,)]
    finally:
        connection.close()


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.123456-05:00", "2026-08-10T02:00:00+05:30", "2026-08-10T02:00Z"],
)
def test_literal_is_the_time(text: str) -> None:
    """Also where it is a time of no calendar that begins in the year 1."""
    value = datetime.fromisoformat(text)
    connection = open_connection(threads=1)
    try:
        assert connection.execute(f"SELECT {to_sql(value)} = ?::TIMESTAMPTZ", [value]).fetchall() == [(True,)]
    finally:
        connection.close()
