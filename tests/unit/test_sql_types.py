"""Every type of DuckDB in every form of an SQL answer: the table that the documentation shows is made here.

`python -m tests.unit.test_sql_types` prints it anew.
"""

import csv
from io import BytesIO, StringIO
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from app.sql.render import ARROW, CSV, JSON, QueryRows, render_rows
from app.store.database import open_connection

TABLE = Path(__file__).parents[2] / "infra/docs/sql-types.md"
HEAD = """# Types of SQL answers

How `POST /sql` and `scripts/sql` write a value of each type of DuckDB. A whole number of 16 bytes, such as the sum of
whole numbers, is a JSON number up to 9007199254740991 and a text beyond. Whole numbers of 8 bytes, such as match ids,
are always JSON numbers: read them with a parser that keeps 64 bits. `nan`, `inf` and `-inf` are the same words in JSON
and CSV. Texts are quoted in CSV; one that a spreadsheet would run as a formula gets an apostrophe in front.

| Type | Value in SQL | JSON | CSV | Arrow |
|---|---|---|---|---|
"""
# type, SQL of a value, JSON, the cell of a CSV, type in Arrow
CASES = [
    ("BOOLEAN", "true", True, "true", "bool"),
    ("TINYINT", "1::TINYINT", 1, "1", "int8"),
    ("SMALLINT", "1::SMALLINT", 1, "1", "int16"),
    ("INTEGER", "1", 1, "1", "int32"),
    ("BIGINT", "9007199254740993", 9007199254740993, "9007199254740993", "int64"),
    ("UTINYINT", "1::UTINYINT", 1, "1", "uint8"),
    ("USMALLINT", "1::USMALLINT", 1, "1", "uint16"),
    ("UINTEGER", "1::UINTEGER", 1, "1", "uint32"),
    ("UBIGINT", "18446744073709551615::UBIGINT", 18446744073709551615, "18446744073709551615", "uint64"),
    ("HUGEINT", "sum(19496)", 19496, "19496", "decimal128(38, 0)"),
    ("HUGEINT", "sum(9007199254740992)", "9007199254740992", "9007199254740992", "decimal128(38, 0)"),
    ("HUGEINT", "sum(-9007199254740991)", -9007199254740991, "-9007199254740991", "decimal128(38, 0)"),
    ("UHUGEINT", "7::UHUGEINT", 7, "7", "decimal128(38, 0)"),
    ("BIGNUM", "12345678901234567890123::BIGNUM", "12345678901234567890123", "12345678901234567890123", "string"),
    ("DECIMAL", "1.50::DECIMAL(5, 2)", "1.50", "1.50", "decimal128(5, 2)"),
    ("FLOAT", "1.5::FLOAT", 1.5, "1.5", "float"),
    ("DOUBLE", "0.1::DOUBLE", 0.1, "0.1", "double"),
    ("DOUBLE", "'nan'::DOUBLE", "nan", "nan", "double"),
    ("DOUBLE", "'-inf'::DOUBLE", "-inf", "-inf", "double"),
    ("VARCHAR", "'=1+1'", "=1+1", "'=1+1", "string"),
    ("VARCHAR", "''", "", "", "string"),
    ("ENUM", "'a'::ENUM ('a', 'b')", "a", "a", "dictionary<values=string, indices=uint8, ordered=0>"),
    ("UUID", "'e7d0e1f0-0000-0000-0000-000000000000'::UUID", "e7d0e1f0-0000-0000-0000-000000000000",
     "e7d0e1f0-0000-0000-0000-000000000000", "string"),
    ("BLOB", "'\\xAA'::BLOB", "aa", "aa", "binary"),
    ("BIT", "'101'::BIT", "101", "101", "string"),
    ("DATE", "DATE '2026-08-15'", "2026-08-15", "2026-08-15", "date32[day]"),
    ("DATE", "'infinity'::DATE", "infinity", "infinity", "date32[day]"),
    ("TIME", "TIME '14:00:00.5'", "14:00:00.5", "14:00:00.5", "time64[us]"),
    ("TIME", "TIME '24:00:00'", "24:00:00", "24:00:00", "time64[us]"),
    ("TIME_NS", "TIME_NS '14:00:00.123456789'", "14:00:00.123456789", "14:00:00.123456789", "time64[ns]"),
    ("TIME WITH TIME ZONE", "TIMETZ '14:00:00+02'", "14:00:00+02", "14:00:00+02", "string"),
    ("TIMESTAMP", "TIMESTAMP '2026-08-15 14:00:00'", "2026-08-15T14:00:00", "2026-08-15T14:00:00", "timestamp[us]"),
    ("TIMESTAMP_S", "TIMESTAMP_S '2026-08-15 14:00:00'", "2026-08-15T14:00:00", "2026-08-15T14:00:00", "timestamp[s]"),
    ("TIMESTAMP_MS", "TIMESTAMP_MS '2026-08-15 14:00:00'", "2026-08-15T14:00:00", "2026-08-15T14:00:00",
     "timestamp[ms]"),
    ("TIMESTAMP_NS", "TIMESTAMP_NS '2026-08-15 14:00:00.123456789'", "2026-08-15T14:00:00.123456789",
     "2026-08-15T14:00:00.123456789", "timestamp[ns]"),
    ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '2026-08-15 16:00:00.5+02'", "2026-08-15T14:00:00.5Z",
     "2026-08-15T14:00:00.5Z", "timestamp[us, tz=UTC]"),
    ("TIMESTAMPTZ_NS", "TIMESTAMPTZ_NS '2026-08-15 16:00:00.123456789+02'", "2026-08-15T14:00:00.123456789Z",
     "2026-08-15T14:00:00.123456789Z", "timestamp[ns, tz=UTC]"),
    ("TIMESTAMP WITH TIME ZONE", "'infinity'::TIMESTAMPTZ", "infinity", "infinity", "timestamp[us, tz=UTC]"),
    ("INTERVAL", "INTERVAL '1 month 2 days 3.5 seconds'", "1 month 2 days 00:00:03.5", "1 month 2 days 00:00:03.5",
     "month_day_nano_interval"),
    ("LIST", "[1.5::DOUBLE, 'nan'::DOUBLE]", [1.5, "nan"], '[1.5,"nan"]', "list<l: double>"),
    ("ARRAY", "array_value(1, 2)", [1, 2], "[1,2]", "fixed_size_list<: int32>[2]"),
    ("STRUCT", "{'a': TIMESTAMPTZ '2026-08-15 14:00:00+00'}", {"a": "2026-08-15T14:00:00Z"},
     '{"a":"2026-08-15T14:00:00Z"}', "struct<a: timestamp[us, tz=UTC]>"),
    ("TUPLE", "(1, 'a')", {"element1": 1, "element2": "a"}, '{"element1":1,"element2":"a"}',
     "struct<element1: int32, element2: string>"),
    ("MAP", "MAP {1: 'x'}", [[1, "x"]], '[[1,"x"]]', "map<int32, string>"),
    ("UNION", "union_value(a := 1)", "1", "1", "sparse_union<a: int32=0>"),
    ("JSON", "'{\"a\": 1}'::JSON", '{"a": 1}', '{"a": 1}', "string"),
    ("VARIANT", "1::VARIANT", "1", "1", "struct<metadata: binary not null, value: binary>"),
    ("GEOMETRY", "'POINT (1 1)'::GEOMETRY", "POINT (1 1)", "POINT (1 1)", "binary"),
    ("NULL", "NULL", None, "", "null"),
]  # fmt: skip
NO_COLUMN = {"TYPE"}  # a type as a value, which no column can hold


def rendered(sql: str, media: str) -> bytes:
    return render_rows(QueryRows(open_connection(threads=1).sql(f"SELECT {sql} AS x"), media, 2048), media, 10_000)


def documentation() -> str:
    """The table as Markdown."""
    rows = [
        f"| {kind} | `{sql}` | `{orjson.dumps(value).decode()}` | `{cell or ' '}` | {arrow} |"
        for kind, sql, value, cell, arrow in CASES
    ]
    return HEAD + "\n".join(rows).replace("` `", "empty") + "\n"


@pytest.mark.parametrize(("kind", "sql", "value", "cell", "arrow"), CASES, ids=[case[1] for case in CASES])
def test_value_in_every_form(kind: str, sql: str, value: object, cell: str, arrow: str) -> None:
    assert orjson.loads(rendered(sql, JSON))["rows"] == [[value]]
    _, *lines = csv.reader(StringIO(rendered(sql, CSV).decode(), newline=""))
    assert lines == ([[cell]] if value is not None else [[]])
    assert str(pa.ipc.open_stream(BytesIO(rendered(sql, ARROW))).schema.field("x").type) == arrow


def test_every_type_is_in_the_table() -> None:
    query = "SELECT DISTINCT logical_type FROM duckdb_types()"
    known = {name for (name,) in open_connection(threads=1).execute(query).fetchall()}
    assert known - NO_COLUMN <= {kind for kind, *_ in CASES}


def test_the_table_in_the_documentation_is_this_one() -> None:
    assert TABLE.read_text() == documentation()


def test_nan_and_infinity_are_the_same_words_in_json_and_csv() -> None:
    for word in ("nan", "inf", "-inf"):
        (row,) = orjson.loads(rendered(f"'{word}'::FLOAT", JSON))["rows"]
        assert row == [word]
        assert rendered(f"'{word}'::FLOAT", CSV) == f'"x"\n{word}\n'.encode()


def test_a_text_of_several_lines_is_one_cell() -> None:
    for text in ("a\rb", "a\nb", "a\r\nb", "\r"):
        sql = " || ".join(f"chr({ord(letter)})" for letter in text)
        _, (cell,) = csv.reader(StringIO(rendered(sql, CSV).decode(), newline=""))
        assert cell == (f"'{text}" if text.startswith("\r") else text)


def test_a_column_name_is_no_formula_either() -> None:
    rows = QueryRows(open_connection(threads=1).sql("""SELECT -1 AS "=1+1", 'a' AS "=1+1" """), CSV, 2048)
    assert render_rows(rows, CSV, 10_000) == b'"\'=1+1","\'=1+1"\n-1,"a"\n'


if __name__ == "__main__":
    print(documentation(), end="")  # noqa: T201
