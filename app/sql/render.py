"""Rows of any query as bytes: Arrow, CSV or JSON, up to a limit.

Arrow keeps DuckDB's own types; those it has none for, such as `TIME WITH TIME ZONE`, are texts there too. JSON and CSV
hold as text what neither has a type for, see `_TEXT_TYPES`. tests/unit/test_sql_types.py has the table of every type.
"""

import math
from collections.abc import Callable, Iterator
from decimal import Decimal
from io import BytesIO
from typing import Any

import orjson
import pyarrow as pa

from app.store.csv_writer import PieceSink, write_csv
from app.store.database import Relation

ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
JSON = "application/json"
Batches = Iterator[pa.RecordBatch]

# Arrow would lose what these say: the offset of a time, the last instant of a day, bits, digits
_NEVER_ARROW = ("time with time zone", "bit", "bignum")
# the type that is named, for a column that JSON and CSV hold as text
_TEXT_TYPES = {
    "time with time zone": "time with time zone",
    "bit": "bit",
    "bignum": "bignum",
    "time": "time64[us]",
    "time_ns": "time64[ns]",
    "date": "date32[day]",
    "timestamp": "timestamp[us]",
    "timestamp_s": "timestamp[s]",
    "timestamp_ms": "timestamp[ms]",
    "timestamp_ns": "timestamp[ns]",
    "timestamp with time zone": "timestamp[us, tz=UTC]",
    "timestamptz_ns": "timestamp[ns, tz=UTC]",
    "interval": "month_day_nano_interval",
    "union": "union",
    "variant": "variant",
    "geometry": "geometry",
}
_INTEGERS_OF_16_BYTES = frozenset({"hugeint", "uhugeint"})
_LARGEST_EXACT = 2**53 - 1  # beyond it a reader that takes JSON numbers for doubles has another number
# RFC 3339 for what has a date and a time; `infinity` and years of five digits stay DuckDB's words
_AS_TEXT = r"""regexp_replace(regexp_replace(#{place}::VARCHAR, '^(\S+) (\d)', '\1T\2'), '\+00$', 'Z')"""


class TooMuch(Exception):
    """The rows are more than was allowed; the message says how many that is."""


class QueryRows:
    """The rows of a query in batches, for one media type, up to a number of rows."""

    def __init__(self, rows: Relation, media: str, chunk_rows: int, max_rows: int | None = None) -> None:
        self.n_rows = 0
        self.kinds = [str(kind.id) for kind in rows.types]
        converted = _NEVER_ARROW if media not in (CSV, JSON) else tuple(_TEXT_TYPES)
        self._converted = [kind if kind in converted else None for kind in self.kinds]
        self._reader = rows.project(self._projection(rows.columns)).to_arrow_reader(chunk_rows)
        self._max_rows = max_rows
        self.schema: pa.Schema = pa.schema(
            [field.with_name(name) for field, name in zip(self._reader.schema, rows.columns, strict=True)]
        )

    def __iter__(self) -> Batches:
        for batch in self._reader:
            self.n_rows += len(batch)
            if self._max_rows is not None and self.n_rows > self._max_rows:
                raise TooMuch(f"The answer has more than {self._max_rows:,} rows; a LIMIT or an aggregate helps.")
            yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)

    def describe_columns(self) -> list[dict[str, str]]:
        """Return the name of each column and its type: Arrow's, or the word for one that is held as text."""
        return [
            {"name": field.name, "type": _TEXT_TYPES[converted] if converted else str(field.type)}
            for field, converted in zip(self.schema, self._converted, strict=True)
        ]

    def _projection(self, names: list[str]) -> str:
        # by place: two columns may have the same name
        return ", ".join(f"{self._expression(place)} AS column_{place}" for place in range(1, len(names) + 1))

    def _expression(self, place: int) -> str:
        converted = self._converted[place - 1]
        if converted is None:
            return f"#{place}"
        return _AS_TEXT.format(place=place) if converted.startswith("timestamp") else f"#{place}::VARCHAR"


def render_rows(rows: QueryRows, media: str, max_bytes: int) -> bytes:
    """Return the whole answer; TooMuch past the limits of rows and bytes."""
    sink = BytesIO()
    for piece in _FORMS[media](rows):
        if sink.tell() + len(piece) > max_bytes:
            raise TooMuch(f"The answer is larger than {max_bytes / 2**20:g} MB; fewer columns or a LIMIT help.")
        sink.write(piece)
    return sink.getvalue()


def _arrow(rows: QueryRows) -> Iterator[bytes]:
    sink = PieceSink()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


def csv_pieces(rows: QueryRows) -> Iterator[bytes]:
    """Yield a header and a line a row; lists and structs as JSON, bytes as hex."""
    schema = pa.schema([(field.name, pa.string() if _is_json(field.type) else field.type) for field in rows.schema])
    return write_csv(schema, (_flat(batch, schema) for batch in rows))


def _flat(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([_json_text(value) for value in column.to_pylist()], pa.string()) if _is_json(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _is_json(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _json_text(value: Any) -> str | None:
    if value is None:
        return None
    return value.hex() if isinstance(value, bytes) else orjson.dumps(_json_value(value), option=_OPTIONS).decode()


def json_pieces(rows: QueryRows) -> Iterator[bytes]:
    """Yield an object of `columns` with their types, and `rows` as arrays: two columns may have the same name."""
    yield b'{"columns":' + orjson.dumps(rows.describe_columns()) + b',"rows":['
    comma = b""
    for batch in rows:
        columns = [_json_column(*each) for each in zip(batch.columns, rows.kinds, strict=True)]
        for row in zip(*columns, strict=True):
            yield comma + orjson.dumps(row, option=_OPTIONS)
            comma = b","
    yield b"]}"


def _json_column(column: pa.Array, kind: str) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if kind in _INTEGERS_OF_16_BYTES:
        return [None if value is None else _exact_integer(int(value)) for value in values]
    if pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        return values
    return [_json_value(value) for value in values]


def _exact_integer(value: int) -> int | str:
    return value if abs(value) <= _LARGEST_EXACT else str(value)


_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS  # keys of maps may be numbers


def _json_value(value: Any) -> Any:
    """Return what JSON can hold: numbers without digits to lose, the words nan, inf and -inf, texts for all else."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {_json_key(key): _json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    return _scalar_text(value)


def _json_key(key: Any) -> Any:
    return key if isinstance(key, str | int | float) else _scalar_text(key)


def _scalar_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds / 1e9:g} seconds"
    if hasattr(value, "isoformat"):
        return str(value.isoformat()).replace("+00:00", "Z")
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return f"{value:f}"
    return str(value)


_FORMS: dict[str, Callable[[QueryRows], Iterator[bytes]]] = {ARROW: _arrow, CSV: csv_pieces, JSON: json_pieces}
