"""Rows to the terminal, or to a file that appears only when it is whole."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from app.sql.render import ARROW, CSV, JSON, QueryRows, csv_pieces, json_pieces
from app.store.database import Relation

_SHOWN_ROWS = 100
_CHUNK_ROWS = 32_768


class ExportFormat(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


_MEDIA = {ExportFormat.TABLE: CSV, ExportFormat.CSV: CSV, ExportFormat.JSON: JSON, ExportFormat.PARQUET: ARROW}


def write(rows: Relation, form: ExportFormat, out: Path | None) -> int | None:
    """Write the rows; how many there were, None for a table, which shows a part of many."""
    if form is ExportFormat.TABLE and out is None:
        rows.show(max_width=shutil.get_terminal_size().columns, max_rows=_SHOWN_ROWS)
        return None
    counted = QueryRows(rows, _MEDIA[form], _CHUNK_ROWS)
    with _opened(out) as file:
        if form is ExportFormat.PARQUET:
            _write_parquet(counted, file)
        else:
            for piece in json_pieces(counted) if form is ExportFormat.JSON else csv_pieces(counted):
                file.write(piece)
    return counted.n_rows


def _write_parquet(rows: QueryRows, file: IO[bytes]) -> None:
    with pq.ParquetWriter(pa.PythonFile(file, "w"), rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    """A new file takes the name: what has that name now may be a link to something dear."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}-", delete=False) as file:
        part = Path(file.name)
        try:
            yield file
        except BaseException:
            part.unlink()
            raise
    part.chmod(0o644)
    part.replace(out)
