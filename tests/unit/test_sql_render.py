"""Rows of every kind of value as JSON, CSV and Arrow; and what the process of a query says."""

import csv
from dataclasses import replace
from io import BytesIO, StringIO
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from app.sql.protocol import Bounds, SqlFailure, SqlRequest, decode_answer, encode_answer, encode_failure
from app.sql.render import ARROW, CSV, JSON, QueryRows, TooMuch, render_rows
from app.sql.runner import answer, answer_on, describe_error
from app.store.database import DatabaseError, open_connection, open_sealed_connection

EVERYTHING = """
SELECT 1 AS n, 9223372036854775807 AS big, 170141183460469231731687303715884105727 AS huge,
    1.50::DECIMAL(5, 2) AS price,
    'nan'::DOUBLE AS nan, true AS yes, NULL AS nothing, 'a "quoted", text' AS text, '\\xAA'::BLOB AS bytes,
    DATE '2026-08-15' AS day, TIMESTAMPTZ '2026-08-15 14:00:00+00' AS kickoff, TIME '14:00' AS clock,
    INTERVAL 1 DAY AS span, [1, 2] AS list, {'a': TIMESTAMPTZ '2026-08-15 14:00:00+00'} AS struct, MAP {1: 'x'} AS map,
    'e7d0e1f0-0000-0000-0000-000000000000'::UUID AS id, 1 AS n
"""


def rendered(sql: str, media: str, max_bytes: int, max_rows: int | None = None) -> bytes:
    """The answer of a query."""
    rows = QueryRows(open_connection(threads=1).sql(sql), media, 2048, max_rows)
    return render_rows(rows, media, max_bytes)


def question(sql: str, tmp_path: Path, **bounds: object) -> SqlRequest:
    """A question over a database with one table `cards`."""
    path = tmp_path / "data.duckdb"
    if not path.exists():
        connection = open_connection(threads=1)
        connection.execute(f"ATTACH '{path}' AS made")
        connection.execute("CREATE TABLE made.cards AS SELECT i AS match_id FROM range(5) t(i)")
        connection.close()
    return SqlRequest(sql, {"snapshot": path}, JSON, Bounds(**bounds))  # type: ignore[arg-type]  # the tests name fields


def test_json_of_every_kind_of_value() -> None:
    found = orjson.loads(rendered(EVERYTHING, JSON, 10_000))
    names = [column["name"] for column in found["columns"]]
    assert (names[0], names[-1]) == ("n", "n")
    (row,) = found["rows"]
    assert row[:8] == [1, 2**63 - 1, str(2**127 - 1), "1.50", "nan", True, None, 'a "quoted", text']
    assert row[8:12] == ["aa", "2026-08-15", "2026-08-15T14:00:00Z", "14:00:00"]
    assert row[13:15] == [[1, 2], {"a": "2026-08-15T14:00:00Z"}]


def test_csv_of_every_kind_of_value() -> None:
    header, row = csv.reader(StringIO(rendered(EVERYTHING, CSV, 10_000).decode()))
    found = dict(zip(header, row, strict=True))
    assert (found["big"], found["price"], found["yes"], found["nothing"]) == (str(2**63 - 1), "1.50", "true", "")
    assert (found["nan"], found["bytes"], found["span"]) == ("nan", "aa", "1 day")
    assert (found["text"], found["kickoff"], found["list"]) == ('a "quoted", text', "2026-08-15T14:00:00Z", "[1,2]")


def test_arrow_keeps_types_and_rows() -> None:
    table = pa.ipc.open_stream(BytesIO(rendered("SELECT i FROM range(5000) t(i)", ARROW, 10**6))).read_all()
    assert table["i"].to_pylist() == list(range(5000))


@pytest.mark.parametrize("media", [JSON, CSV, ARROW])
def test_no_rows_are_an_answer_with_columns(media: str) -> None:
    assert b"i" in rendered("SELECT i FROM range(0) t(i)", media, 10_000)


@pytest.mark.parametrize("media", [JSON, CSV, ARROW])
def test_more_rows_or_bytes_than_allowed_are_too_much(media: str) -> None:
    with pytest.raises(TooMuch, match="more than 10 rows"):
        rendered("FROM range(11)", media, 10_000, 10)
    with pytest.raises(TooMuch, match="larger than"):
        rendered("FROM range(1000)", media, 1000)


def test_question_and_answer_survive_the_pipe(tmp_path: Path) -> None:
    asked = question("SELECT 'ü\0'", tmp_path)
    assert SqlRequest.decode(asked.encode()) == asked
    assert decode_answer(encode_answer(b"body\nof two", 2)) == (b"body\nof two", 2)
    with pytest.raises(SqlFailure) as failure:
        decode_answer(encode_failure(SqlFailure("sql-rejected", "no")))
    assert failure.value.detail == "no"


@pytest.mark.parametrize("cut", [b"", b"{", b"{}", b"[]\n", b"1\n", b'{"rows"'])
def test_answer_of_a_process_that_died_is_none(cut: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode_answer(cut)


def test_query_is_answered_from_the_database(tmp_path: Path) -> None:
    body, n_rows = answer(question("SELECT max(match_id) FROM cards", tmp_path), is_confined=False)
    assert (orjson.loads(body)["rows"], n_rows) == ([[4]], 1)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT 1; SELECT 2", "sql-rejected"),
        ("DROP TABLE cards", "sql-rejected"),
        ("SELECT", "sql-rejected"),
        ("COPY cards TO 'x'", "sql-rejected"),
        ("FROM cards, cards b", "sql-too-large"),
        ("SELECT list(range(1000000)) FROM range(100000)", "sql-too-large"),
    ],
)
def test_failures_have_a_code(tmp_path: Path, sql: str, code: str) -> None:
    with pytest.raises(SqlFailure) as failure:
        answer(question(sql, tmp_path, max_rows=10, memory_mb=64), is_confined=False)
    assert failure.value.code == code


def test_messages_name_no_paths() -> None:
    said = describe_error(ValueError('Cannot open "/srv/a/b.duckdb": in a/b at x / y\n\nStack Trace:\n0x00'))
    assert said == 'Cannot open "…": in a/b at x / y'


def test_nothing_that_duckdb_tells_of_itself_says_where_files_lie(tmp_path: Path) -> None:
    """Every table function without arguments, every view and every setting that there is."""
    connection = open_connection(threads=1)
    functions = (
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' AND parameters = []"
    )
    sources = [f"{name}()" for (name,) in connection.execute(functions).fetchall()]
    views = connection.execute("SELECT schema_name || '.' || view_name FROM duckdb_views()").fetchall()
    settings = connection.execute("SELECT name FROM duckdb_settings()").fetchall()
    assert (len(sources) > 20, len(views) > 30, len(settings) > 100) == (True, True, True)
    sources += [name for (name,) in views]
    n_answers, asked = 0, question("", tmp_path, max_rows=10_000)
    sealed = open_sealed_connection(asked.databases)
    for sql in [*(f"FROM {source}" for source in sources), *(f"SHOW {name}" for (name,) in settings)]:
        try:
            told = answer_on(sealed, replace(asked, sql=sql))[0].decode()
            n_answers += 1
        except (DatabaseError, ValueError, TooMuch) as error:
            told = describe_error(error)
        assert str(tmp_path) not in told, sql
        assert ".duckdb/" not in told, sql
    assert n_answers > 50
