"""The forms that rows go out in, each written piece by piece with bounded memory."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

import pyarrow as pa
import pyarrow.parquet as pq

from app.store.csv_writer import PieceSink, write_csv

_GROUP_ROWS = 32_768  # of a Parquet row group: some megabytes in memory, large enough to compress well


class Format(StrEnum):
    """The form of an answer, named by its media type."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"
    CSV = "text/csv"
    ARROW = "application/vnd.apache.arrow.stream"
    PARQUET = "application/vnd.apache.parquet"


def _csv(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    return write_csv(reader.schema, reader)


def _arrow(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    sink = PieceSink()
    with pa.ipc.new_stream(pa.PythonFile(sink, "w"), reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            yield sink.take()
    yield sink.take()


def _parquet(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    sink = PieceSink()
    with pq.ParquetWriter(pa.PythonFile(sink, "w"), reader.schema, compression="zstd") as writer:
        for batches in _grouped(reader):
            writer.write_table(pa.Table.from_batches(batches))
            yield sink.take()
    yield sink.take()


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
