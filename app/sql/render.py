"""Rows of any query as bytes: Arrow, CSV or JSON, up to a limit."""

import csv
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
JSON = "application/json"
Batches = Iterator[pa.RecordBatch]


class TooMuch(Exception):
    """The rows are more than was allowed; the message says how many that is."""


class Counted:
    """Batches that stop at a number of rows."""

    def __init__(self, reader: pa.RecordBatchReader, max_rows: int | None = None) -> None:
        self.schema = reader.schema
        self.n_rows = 0
        self._reader = reader
        self._max_rows = max_rows

    def __iter__(self) -> Batches:
        for batch in self._reader:
            self.n_rows += len(batch)
            if self._max_rows is not None and self.n_rows > self._max_rows:
                raise TooMuch(f"The answer has more than {self._max_rows:,} rows; a LIMIT or an aggregate helps.")
            yield batch


def rendered(rows: Counted, media: str, max_bytes: int) -> bytes:
    """The whole answer; TooMuch past the limits of rows and bytes."""
    sink = BytesIO()
    for piece in _FORMS[media](rows):
        if sink.tell() + len(piece) > max_bytes:
            raise TooMuch(f"The answer is larger than {max_bytes / 2**20:g} MB; fewer columns or a LIMIT help.")
        sink.write(piece)
    return sink.getvalue()


def _arrow(rows: Counted) -> Iterator[bytes]:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
            yield _taken(sink)
    yield _taken(sink)


def _taken(sink: BytesIO) -> bytes:
    taken = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return taken


def csv_lines(rows: Counted) -> Iterator[bytes]:
    """A header and a line a row; lists and structs as JSON."""
    yield _csv_lines([rows.schema.names])
    for batch in rows:
        yield _csv_lines([[_cell(value) for value in row] for row in _rows(batch)])


def _csv_lines(lines: Sequence[Sequence[Any]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool | list | dict):
        return orjson.dumps(value, default=_written, option=_OPTIONS).decode()
    return _written(value)


def json_pieces(rows: Counted) -> Iterator[bytes]:
    """An object of `columns` with their types, and `rows` as arrays: two columns may have the same name."""
    columns = [{"name": field.name, "type": str(field.type)} for field in rows.schema]
    yield b'{"columns":' + orjson.dumps(columns) + b',"rows":['
    comma = b""
    for batch in rows:
        for row in _rows(batch):
            yield comma + orjson.dumps(row, default=_written, option=_OPTIONS)
            comma = b","
    yield b"]}"


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


# times as everywhere in the API; keys of maps may be numbers
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


def _written(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal | dt.timedelta | UUID):
        return str(value)
    if isinstance(value, pa.MonthDayNano):
        return f"{value.months} months {value.days} days {value.nanoseconds / 1e9:g} seconds"
    raise TypeError(f"{type(value).__name__} cannot be written")


_FORMS: dict[str, Callable[[Counted], Iterator[bytes]]] = {ARROW: _arrow, CSV: csv_lines, JSON: json_pieces}
