"""Write rows as CSV: the only writer, of the API's lists, of SQL answers and of files from `scripts/sql`.

Every text is quoted, so a lone carriage return or line feed in it ends no line; numbers and flags are not. A null is
empty, an empty text is `""`. A text or a column name that a spreadsheet would run as a formula gets one apostrophe in
front; numbers never do, so that `-0.05` stays a number. Times are RFC 3339.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

# what makes a spreadsheet take a text for a formula
_FORMULA = r"^([=+\-@\t\r])"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class PieceSink:
    """Hold what a writer of pyarrow writes until it is taken; `tell` counts on."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def write(self, data: Any) -> int:
        """Take what a writer gives."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._size_bytes += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Return how much was written, taken or not: Parquet's footer points to places."""
        return self._size_bytes

    def flush(self) -> None:
        """Do nothing: nothing is held back."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        piece = b"".join(self._pieces)
        self._pieces.clear()
        return piece


def write_csv(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield a header, then the rows of each batch as one piece."""
    sink = PieceSink()
    with pa_csv.CSVWriter(pa.PythonFile(sink, "w"), _text_schema(schema)) as writer:
        for batch in batches:
            writer.write_batch(_text_batch(batch))
            yield sink.take()
    yield sink.take()


def escape_formulas(values: pa.Array) -> pa.Array:
    """Put an apostrophe before every text that a spreadsheet would run as a formula."""
    if not pc.any(pc.match_substring_regex(values, _FORMULA)).as_py():
        return values
    return pc.replace_substring_regex(values, pattern=_FORMULA, replacement=r"'\1")


def _text_schema(schema: pa.Schema) -> pa.Schema:
    names = escape_formulas(pa.array(schema.names, pa.string())).to_pylist()
    types = [pa.string() if _becomes_text(field.type) else field.type for field in schema]
    return pa.schema(list(zip(names, types, strict=True)))


def _text_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [_text_column(column) if _becomes_text(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, schema=_text_schema(batch.schema))


def _becomes_text(kind: pa.DataType) -> bool:
    # pyarrow itself would write a time as `2026-08-15 14:00:00.000000+0000`, and no dictionary
    kinds = (pa.types.is_timestamp, pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    return any(is_kind(kind) for is_kind in (*kinds, pa.types.is_dictionary))


def _text_column(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, format=_TIME)
    return escape_formulas(values.cast(pa.string()))
