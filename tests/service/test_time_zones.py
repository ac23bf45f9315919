"""Times are UTC in every form, whatever the zone of the machine: the API as a process under TZ, its answers read here.

`tox -e timezones` runs whole test files under these zones; here are the answers that went wrong, in every run.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS, PREDICTIONS
from tests.support.build_artifacts import FIRST_ID, NOW, write_artifacts
from tests.support.zoned import get, serve_in_zone

pytestmark = pytest.mark.timeout(360)
ZONES = ["America/New_York", "Pacific/Auckland"]
FORMATS = ["json", "ndjson", "csv", "arrow", "parquet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred matches around midnight UTC, with history."""
    return write_artifacts(tmp_path_factory.mktemp("zones") / "artifacts", n_matches=200, with_history=True)


@pytest.fixture(scope="module", params=ZONES)
def url(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API process in that zone."""
    with serve_in_zone(request.param, folder, tmp_path_factory.mktemp("home")) as address:
        yield address


def rows_of(name: str, body: bytes) -> list[dict[str, Any]]:
    """The rows of a body; an Arrow column that holds a time must say UTC."""
    if name == "json":
        return list(orjson.loads(body)["items"])
    if name == "ndjson":
        return [orjson.loads(line) for line in body.splitlines()]
    if name == "csv":
        names = ("kickoff_utc", "computed_at", "captured_at", "settled_until")
        strings = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        return pa_csv.read_csv(BytesIO(body), convert_options=strings).to_pylist()
    table = pq.read_table(BytesIO(body)) if name == "parquet" else pa.ipc.open_stream(body).read_all()
    times = [field.type for field in table.schema if pa.types.is_timestamp(field.type)]
    assert times
    assert {kind.tz for kind in times} == {"UTC"}
    return table.to_pylist()


def as_instant(value: Any) -> datetime | None:
    """The time; one that is written without an offset fails the test."""
    if value in {None, ""}:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert moment.utcoffset() == timedelta(0), value
    return moment.astimezone(UTC)


@pytest.mark.parametrize("name", FORMATS)
def test_every_list_has_the_times_of_the_files(url: str, folder: Path, name: str) -> None:
    predictions = pq.read_table(folder / PREDICTIONS)
    kickoffs = dict(zip(predictions["match_id"].to_pylist(), predictions["kickoff_utc"].to_pylist(), strict=True))
    odds = pq.read_table(folder / ODDS)
    captured = dict(zip(odds["match_id"].to_pylist(), odds["captured_at"].to_pylist(), strict=True))

    found = rows_of(name, get(url, f"/predict/predictions/?format={name}"))
    assert {row["match_id"]: as_instant(row["kickoff_utc"]) for row in found} == kickoffs
    assert {as_instant(row["computed_at"]) for row in found} == set(predictions["computed_at"].to_pylist())
    found = rows_of(name, get(url, f"/predict/odds/?format={name}"))
    assert {row["match_id"]: as_instant(row["captured_at"]) for row in found} == captured
    cards = rows_of(name, get(url, f"/predict/cards/?limit=1000&format={name}"))
    assert {row["match_id"]: as_instant(row["kickoff_utc"]) for row in cards} == kickoffs


@pytest.mark.parametrize("name", FORMATS)
def test_region_roi_was_settled_at_the_time_of_the_files(url: str, name: str) -> None:
    found = rows_of(name, get(url, f"/predict/region-roi/?format={name}&fields=region,settled_until"))
    assert {as_instant(row["settled_until"]) for row in found} == {NOW}


def test_filter_by_time_selects_by_utc(url: str, folder: Path) -> None:
    midnight = (NOW - timedelta(days=10)).replace(hour=0)
    kickoffs = pq.read_table(folder / PREDICTIONS)["kickoff_utc"].to_pylist()
    since, until = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (midnight, midnight + timedelta(days=1)))
    found = rows_of("json", get(url, f"/predict/cards/?from={since}&to={until}"))
    expected = sorted(each for each in kickoffs if midnight <= each < midnight + timedelta(days=1))
    assert [as_instant(row["kickoff_utc"]) for row in found] == expected
    assert expected


def test_curve_has_days_of_utc(url: str) -> None:
    cards = rows_of("json", get(url, "/predict/cards/?limit=1000&value=true&status=finished"))
    days = {card["kickoff_utc"][:10] for card in cards if not card["in_sample"]}
    curve = orjson.loads(get(url, "/predict/performance/"))["curve"]
    assert {point["day"] for point in curve} <= days
    assert curve


def test_one_match_and_its_history(url: str, folder: Path) -> None:
    kickoff = pq.read_table(folder / PREDICTIONS)["kickoff_utc"][3].as_py()
    match = orjson.loads(get(url, f"/predict/precomputed/{FIRST_ID + 3}"))
    history = orjson.loads(get(url, f"/predict/odds/{FIRST_ID + 3}/history"))
    assert as_instant(match["kickoff_utc"]) == as_instant(history["kickoff_utc"]) == kickoff
    assert {as_instant(each["known_at"]) for each in history["predictions"]} == {NOW}  # in sample: when it was computed


def test_earlier_time_knows_what_was_known_then(url: str) -> None:
    """A day of UTC begins what a match without an earlier prediction was known from."""
    moment = NOW - timedelta(days=10, hours=3)
    answer = orjson.loads(get(url, f"/predict/cards/?limit=1000&as_of={moment:%Y-%m-%dT%H:%M:%SZ}"))
    assert as_instant(answer["snapshot"]["built_at"]) == moment
    assert answer["items"]
    for card in answer["items"]:
        is_over = datetime.fromisoformat(card["kickoff_utc"]) + timedelta(hours=2) <= moment
        assert (card["status"] == "finished") == is_over


def test_sql_sees_the_same_times(url: str) -> None:
    sql = f"SELECT kickoff_utc, kickoff_utc::VARCHAR AS word FROM cards WHERE match_id = {FIRST_ID + 3}"
    answer = get(url, "/sql", orjson.dumps({"sql": sql, "format": "arrow"}))
    ((moment, word),) = (row.values() for row in pa.ipc.open_stream(answer).read_all().to_pylist())
    match = orjson.loads(get(url, f"/predict/precomputed/{FIRST_ID + 3}"))
    assert as_instant(moment) == as_instant(match["kickoff_utc"])
    assert word == f"{moment:%Y-%m-%d %H:%M:%S}+00"


MONEY_OF_A_FOLDER = """
import sys
from pathlib import Path
from tests.support.build_artifacts import write_artifacts
write_artifacts(Path(sys.argv[1]), n_matches=200, with_history=True)
"""


@pytest.mark.parametrize("zone", ZONES)
def test_pipeline_writes_the_same_files_in_every_zone(folder: Path, tmp_path: Path, zone: str) -> None:
    """Money tables and history, which the pipeline's own code makes of predictions and odds."""
    environ = dict(os.environ) | {"TZ": zone}  # noqa: TID251
    subprocess.run([sys.executable, "-c", MONEY_OF_A_FOLDER, str(tmp_path / "there")], env=environ, check=True)
    for path in (*folder.rglob("*.csv"), *folder.rglob("history/**/*.parquet")):
        assert (tmp_path / "there" / path.relative_to(folder)).read_bytes() == path.read_bytes(), path.name
