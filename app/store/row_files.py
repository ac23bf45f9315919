"""Rows of a snapshot written once as JSON, in files beside its tables: a match is then a bisect and a read."""

import contextlib
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import structlog

from app.store.compression import Coding, compress_pieces
from app.store.database import Connection, DatabaseError

log = structlog.get_logger(__name__)
_BATCH_ROWS = 2048  # about three megabytes of cards
_PIECE_BYTES = 4 * 2**20
_COMMA = b","
_INDEX_BYTES = 20  # a row: its match, where it begins, its length


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows to write: names of their files, and SQL that gives `match_id` and under each name a JSON text."""

    names: tuple[str, ...]
    sql: str


def row_source(rows: str, **json: str) -> RowSource:
    """Return the source of rows `FROM rows`, with SQL of a JSON object for each file."""
    # the comma that parts two rows is in the file, so that neighbours are read as they will be sent
    texts = ", ".join(f"to_json({sql}) || ',' AS {name}" for name, sql in json.items())
    return RowSource(tuple(json), f"SELECT match_id, {texts} FROM {rows}")  # noqa: S608


@dataclass(frozen=True, slots=True)
class WholeList:
    """An answer whose middle is a file: `head`, so many bytes of the file, and `tail`."""

    head: bytes
    file: BinaryIO
    file_bytes: int
    tail: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Length of the answer."""
        return len(self.head) + self.file_bytes + len(self.tail)

    def pieces(self) -> Iterator[bytes]:
        """Yield the answer a few megabytes at a time."""
        yield self.head
        for at in range(0, self.file_bytes, _PIECE_BYTES):
            yield os.pread(self.file.fileno(), min(_PIECE_BYTES, self.file_bytes - at), at)
        yield self.tail


class RowFile:
    """JSON rows in the order of their table, each followed by a comma, and an index of them by match id.

    A match may have several rows; they keep their order. The index is mapped, so it takes no memory of its own.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._size_bytes = path.stat().st_size
        index = _index_of(path)
        self._n_rows = n = index.stat().st_size // _INDEX_BYTES
        with index.open("rb") as file:
            mapped = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
        # in the order of ids: the ids, where each row begins, and how long it is with its comma
        self._ids = mapped[: 8 * n].cast("q")
        self._starts = mapped[8 * n : 16 * n].cast("q")
        self._sizes = mapped[16 * n :].cast("i")

    def find(self, match_id: int) -> bytes | None:
        """Return the row of a match, the first if it has several; None when it has none."""
        at = bisect_left(self._ids, match_id)
        if at == self._n_rows or self._ids[at] != match_id:
            return None
        return os.pread(self._file.fileno(), self._sizes[at] - 1, self._starts[at])

    def find_all(self, match_id: int) -> list[bytes]:
        """Return all rows of a match."""
        at = bisect_left(self._ids, match_id)
        found = []
        while at < self._n_rows and self._ids[at] == match_id:
            found.append(os.pread(self._file.fileno(), self._sizes[at] - 1, self._starts[at]))
            at += 1
        return found

    def gather(self, match_ids: Sequence[int]) -> bytes:
        """Return the rows of these matches, one each, with commas between them; neighbours are read at once."""
        if not match_ids:
            return b""
        places = np.searchsorted(np.frombuffer(self._ids, np.int64), match_ids)
        starts = np.frombuffer(self._starts, np.int64)[places]
        ends = starts + np.frombuffer(self._sizes, np.int32)[places]
        breaks = [0, *(np.flatnonzero(starts[1:] != ends[:-1]) + 1).tolist(), len(match_ids)]
        begin, end, number = starts.tolist(), ends.tolist(), self._file.fileno()
        pieces = [os.pread(number, end[last - 1] - begin[first], begin[first]) for first, last in pairwise(breaks)]
        return b"".join(pieces)[: -len(_COMMA)]

    def whole(self, head: bytes) -> "WholeList":
        """Return all rows as the list that ends the JSON object which `head` begins."""
        # without the last comma
        return WholeList(head[:-1] + b',"items":[', self._file, self._size_bytes - len(_COMMA), b"]}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _index_of(path: Path) -> Path:
    return path.with_suffix(".index")


class _RowWriter:
    """One file being written, and what its index will say."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb", buffering=0)
        self._at = 0
        self._sizes: list[npt.NDArray[np.int32]] = []

    def write(self, rows: pa.Array) -> None:
        """Write a batch: its texts lie one behind the other in memory as they will in the file."""
        _, offsets, texts = rows.buffers()
        ends = np.frombuffer(offsets, np.int32)[rows.offset : rows.offset + len(rows) + 1]
        _write_all(self._file, memoryview(texts)[int(ends[0]) : int(ends[-1])])
        self._sizes.append(np.diff(ends))
        self._at += int(ends[-1] - ends[0])

    def finish(self, ids: npt.NDArray[np.int64]) -> None:
        """Write the index."""
        self._file.close()
        sizes = np.concatenate([np.empty(0, np.int32), *self._sizes])
        starts = np.cumsum(sizes, dtype=np.int64) - sizes
        order = np.argsort(ids, kind="stable")
        with _index_of(self._path).open("wb", buffering=0) as index:
            for column in (ids, starts, sizes):
                _write_all(index, memoryview(column[order].tobytes()))

    def close(self) -> None:
        self._file.close()


def _write_all(file: Any, data: memoryview) -> None:
    # a raw write may take only a part, as where a disk has just become full; the next says so
    while data:
        data = data[file.write(data) :]


class RowFilesStopped(Exception):
    """The files are not wanted any more."""


class RowFiles:
    """The row files of one snapshot, written in the background; until one is there, and if it cannot be, it is None.

    They go with the folder that they are in.
    """

    def __init__(self, folder: Path, connection: Connection, sources: Sequence[RowSource]) -> None:
        self._folder = folder
        self._connection = connection
        self._sources = sources
        self._files: dict[str, RowFile] = {}
        self._stop = threading.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="row-files")
        self._writing: Future[None] | None = None
        self._coded: dict[tuple[Coding, bytes], Future[BinaryIO | None]] = {}
        self.fault: str | None = None

    def start(self, after: Callable[[], None]) -> None:
        """Begin when `after` returns: what callers cannot do without is built first."""
        if not self._sources:
            return
        self._writing = self._writer.submit(self._write_sources, after)

    def get(self, name: str) -> RowFile | None:
        """Return the file of that name, once it is whole."""
        return self._files.get(name)

    def wait(self) -> None:
        """Block until all are written or cannot be."""
        if self._writing is not None:
            self._writing.result()

    def close(self) -> None:
        """Stop writing, and close what is written; blocks until the writer has stopped."""
        self._stop.set()
        self._writer.shutdown()
        files, self._files = self._files, {}
        for file in files.values():
            file.close()
        for coded in self._coded.values():
            if (whole := coded.result()) is not None:
                whole.close()

    def code(self, coding: Coding, plain: WholeList) -> WholeList | None:
        """Return a list in a coding, once that has been made; the first who asks has it made."""
        key = coding, plain.head
        if key not in self._coded:
            # a head differs only while a snapshot is stale; no request makes more of them
            self._coded[key] = self._writer.submit(self._write_coded, coding, plain, len(self._coded))
        made = self._coded[key]
        file = made.result() if made.done() else None
        return WholeList(b"", file, os.fstat(file.fileno()).st_size) if file is not None else None

    def _write_coded(self, coding: Coding, plain: WholeList, number: int) -> BinaryIO | None:
        path = self._folder / f"whole-{number}.{coding.value}"
        try:
            with path.open("wb", buffering=0) as file:
                for piece in compress_pieces(coding, plain.pieces()):
                    if self._stop.is_set():
                        return None
                    _write_all(file, memoryview(piece))
            return path.open("rb", buffering=0)
        except OSError as error:
            # it goes on being compressed for each who asks
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            log.warning("rows.not_compressed", path=str(path), error=error.strerror)
            return None

    def _write_sources(self, after: Callable[[], None]) -> None:
        try:
            after()
            if self._stop.is_set():
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            for source in self._sources:
                # of one source all at once, so that two of them never tell of different states
                self._files |= self._write(source)
        except RowFilesStopped:
            pass
        except (OSError, DatabaseError) as error:
            # every row is still to be had from DuckDB
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            self.fault = f"rows are read slowly: {reason}"
            log.warning("rows.not_written", folder=str(self._folder), error=reason)
        except Exception as error:
            self.fault = f"rows are read slowly: {error}"
            log.exception("rows.not_written", folder=str(self._folder))

    def _write(self, source: RowSource) -> dict[str, RowFile]:
        paths = {name: self._folder / f"{name}.json" for name in source.names}
        writers: list[_RowWriter] = []
        try:
            writers += map(_RowWriter, paths.values())
            ids = [np.empty(0, np.int64)]
            for batch in self._batches(source.sql):
                ids.append(batch.column("match_id").to_numpy().copy())  # or it would keep its batch
                for name, writer in zip(source.names, writers, strict=True):
                    writer.write(batch.column(name))
            if len(ids) == 1:
                return {}  # no rows: nothing to find, and nothing to map
            for writer in writers:
                writer.finish(np.concatenate(ids))
            return {name: RowFile(path) for name, path in paths.items()}
        except BaseException:
            for path in paths.values():
                # what was written would go on filling a disk that is full
                path.unlink(missing_ok=True)
                _index_of(path).unlink(missing_ok=True)
            raise
        finally:
            for writer in writers:
                writer.close()

    def _batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        with self._connection.cursor() as cursor:
            for batch in cursor.sql(sql).to_arrow_reader(_BATCH_ROWS):
                if self._stop.is_set():
                    raise RowFilesStopped
                yield batch
