"""The forms that rows go out in, each written piece by piece with bounded memory."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

_GROUP_ROWS = 32_768  # of a Parquet row group: some megabytes in memory, large enough to compress well
# what makes a spreadsheet take a text for a formula
_FORMULA = r"^([=+\-@\t\r])"


class Format(StrEnum):
    """The form of an answer, named by its media type."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"
    CSV = "text/csv"
    ARROW = "application/vnd.apache.arrow.stream"
    PARQUET = "application/vnd.apache.parquet"


class _Sink:
    """A file that is taken away as it is written, and counts on."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def write(self, data: Any) -> int:
        """Take what a writer gives."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._written += len(piece)
        return len(piece)

    def tell(self) -> int:
        """How much was written, taken away or not: Parquet's footer points to places."""
        return self._written

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def _csv(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    sink = _Sink()
    with pa_csv.CSVWriter(pa.PythonFile(sink, "w"), _csv_schema(reader.schema)) as writer:
        for batch in reader:
            writer.write_batch(_for_spreadsheets(batch))
            yield sink.taken()
    yield sink.taken()


def _csv_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(field.name, pa.string() if _is_instant(field.type) else field.type) for field in schema])


def _for_spreadsheets(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times as RFC 3339 (pyarrow would write `2026-08-15 14:00:00.000000+0000`), texts that nobody runs as formulas."""
    for place, column in enumerate(batch.schema):
        values = batch.column(place)
        if _is_instant(column.type):
            batch = batch.set_column(place, column.name, pc.strftime(values, format="%Y-%m-%dT%H:%M:%SZ"))
        elif pa.types.is_string(column.type) and pc.any(pc.match_substring_regex(values, _FORMULA)).as_py():
            harmless = pc.replace_substring_regex(values, pattern=_FORMULA, replacement=r"'\1")
            batch = batch.set_column(place, column.name, harmless)
    return batch


def _is_instant(found: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(found))


def _arrow(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


def _parquet(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, "w"), reader.schema, compression="zstd") as writer:
        for batches in _grouped(reader):
            writer.write_table(pa.Table.from_batches(batches))
            yield sink.taken()
    yield sink.taken()


def _grouped(reader: pa.RecordBatchReader) -> Iterator[list[pa.RecordBatch]]:
    batches: list[pa.RecordBatch] = []
    for batch in reader:
        batches.append(batch)
        if sum(map(len, batches)) >= _GROUP_ROWS:
            yield batches
            batches = []
    if batches:
        yield batches


WRITERS: Mapping[Format, Callable[[pa.RecordBatchReader], Iterator[bytes]]] = {
    Format.CSV: _csv,
    Format.ARROW: _arrow,
    Format.PARQUET: _parquet,
}
