"""Feature rows by match id, looked up in microseconds from a memory-mapped file built beside the parquet."""

import asyncio
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from app.errors import FeaturesLoading, QueryQueueFull, QueryTimeout
from app.runtime import reserve_space
from app.store.database import Database, QueryLimiter, open_connection

log = structlog.get_logger(__name__)
Matrix = npt.NDArray[np.float32]
_BLOCK_BYTES = 64 * 2**20  # decoded at once
_KEPT_FILES = 2  # the one in use, and the one before it that another process may be about to open
_TURN_S = 0.1
_RETRY_AFTER_S = 2.0
_SLOW_QUEUE = 8  # rows that wait to be read from the parquet, a fifth of a second each


class MatrixBuildStopped(Exception):
    """The matrix is not wanted any more."""


class FeatureMatrix:
    """Rows of a parquet file in its order; built by one process of a machine at a time and then used by all.

    `matrix` is None until it is built; `fault` says why it cannot be.
    """

    def __init__(self, parquet: Path, path: Path, names: tuple[str, ...], n_rows: int) -> None:
        self._parquet = parquet
        self._path = path
        self._names = names
        self._n_rows = n_rows
        self._stop = threading.Event()
        self.matrix: Matrix | None = self._opened()
        self.fault: str | None = None
        self._building: Future[None] | None = None
        if self.matrix is None:
            builder = ThreadPoolExecutor(1, thread_name_prefix="feature-matrix")
            self._building = builder.submit(self._build)
            builder.shutdown(wait=False)

    async def wait(self, timeout_s: float) -> None:
        """Return when it is built or cannot be, at the latest after that time."""
        if self._building is not None:
            await asyncio.wait([asyncio.wrap_future(self._building)], timeout=timeout_s)

    def wait_until_built(self) -> None:
        """Block until it is built or cannot be."""
        if self._building is not None:
            self._building.result()

    def close(self) -> None:
        """Stop building; blocks until the builder has stopped."""
        self._stop.set()
        self.wait_until_built()

    def _build(self) -> None:
        try:
            with self._turn():
                self.matrix = self._opened()
                if self.matrix is None:
                    self._write()
                    self.matrix = self._opened()
        except MatrixBuildStopped:
            pass
        except Exception as error:
            # rows are still to be had from the parquet, only slowly
            self.fault = f"feature rows are read slowly: {getattr(error, 'strerror', None) or error}"
            log.exception("features.matrix_failed", path=str(self._path))

    def _opened(self) -> Matrix | None:
        shape = (self._n_rows, len(self._names))
        try:
            if self._path.stat().st_size != 4 * self._n_rows * len(self._names):
                return None
            os.utime(self._path)
            return np.memmap(self._path, dtype="<f4", mode="r", shape=shape) if self._n_rows else np.empty(shape, "<f4")
        except OSError:
            # not there; whatever else it is, the builder will meet it and say so
            return None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.parent, os.O_RDONLY)
        try:
            while not _is_locked(lock):
                if self._stop.wait(_TURN_S):
                    raise MatrixBuildStopped
            yield
        finally:
            os.close(lock)

    def _write(self) -> None:
        """Write it whole, in our turn; what a killed builder left behind goes."""
        part = self._path.parent / "building"
        try:
            with part.open("w+b") as file, pq.ParquetFile(self._parquet) as rows:
                # a disk that is full says so here, and not by a signal when the page is written back
                size_bytes = 4 * self._n_rows * len(self._names)
                if size_bytes:
                    reserve_space(file.fileno(), size_bytes)
                    with mmap.mmap(file.fileno(), size_bytes) as memory:
                        self._copy(rows, memory)
            part.replace(self._path)
        finally:
            part.unlink(missing_ok=True)
            # Arrow keeps what it has freed; here that is as much as the file is large
            pa.default_memory_pool().release_unused()
        _forget_old(self._path.parent)

    def _copy(self, file: pq.ParquetFile, memory: mmap.mmap) -> None:
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            # a writer may have made one row group of everything: then few columns at a time
            width = max(1, _BLOCK_BYTES // (4 * max(1, end - start)))
            for left in range(0, len(self._names), width):
                if self._stop.is_set():
                    raise MatrixBuildStopped
                columns = list(self._names[left : left + width])
                (block,) = file.read_row_group(group, columns=columns).combine_chunks().to_batches() or (None,)
                if block is not None:
                    values = block.to_tensor(null_to_nan=True).to_numpy()
                    matrix = np.frombuffer(memory, "<f4").reshape(self._n_rows, len(self._names))
                    matrix[start:end, left : left + width] = values
                    del matrix
                # written pages are the kernel's to keep, not this process's
                memory.madvise(mmap.MADV_DONTNEED)
            start = end


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget_old(cache: Path) -> None:
    newest_first = sorted(cache.glob("*.f32"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT_FILES:]:
        path.unlink(missing_ok=True)


_SLOWLY = "SELECT * EXCLUDE (match_id) FROM read_parquet($parquet) WHERE match_id = $match_id"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Feature rows by match id; `names` is the order of the values in a row."""

    names: tuple[str, ...]
    _sorted_ids: npt.NDArray[np.int64]
    _positions: npt.NDArray[np.int64]
    _parquet: Path
    _matrix: FeatureMatrix
    _slow: Database

    async def find(self, match_id: int) -> bytes | None:
        """Return the row of a match as little-endian float32, NaN where unknown; None when there is none.

        FeaturesLoading while the matrix is being built, or when too many rows wait to be read without it.
        """
        at = int(self._sorted_ids.searchsorted(match_id))
        if at == len(self._sorted_ids) or self._sorted_ids[at] != match_id:
            return None
        matrix = self._matrix.matrix
        if matrix is not None:
            row: npt.NDArray[np.float32] = matrix[self._positions[at]]
            return row.tobytes()
        if self._matrix.fault is None:
            detail = "The feature rows of new artifacts are being loaded."
            raise FeaturesLoading(detail, retry_after_s=_RETRY_AFTER_S)
        return await self._find_slowly(match_id)

    async def _find_slowly(self, match_id: int) -> bytes:
        try:
            (values,) = await self._slow.fetch(_SLOWLY, {"parquet": str(self._parquet), "match_id": match_id})
        except (QueryQueueFull, QueryTimeout) as error:
            detail = "Too many feature rows wait to be read from the file."
            raise FeaturesLoading(detail, retry_after_s=_RETRY_AFTER_S) from error
        # None becomes NaN
        return np.array(values, dtype="<f4").tobytes()

    @property
    def fault(self) -> str | None:
        """Why rows are read slowly, and will be; None when they are not."""
        return self._matrix.fault

    async def wait(self, timeout_s: float) -> None:
        """Return when rows are found fast, or it is known that they will not be; at the latest after that time."""
        await self._matrix.wait(timeout_s)

    def wait_until_built(self) -> None:
        """Block until rows are found fast, or it is known that they will not be."""
        self._matrix.wait_until_built()

    def close(self) -> None:
        """Stop what is still being built."""
        self._matrix.close()
        self._slow.close()

    def __len__(self) -> int:
        return len(self._sorted_ids)


def open_features(parquet: Path, sha256: str, cache: Path) -> FeatureRows:
    """Open the rows of a parquet file; `sha256` of its contents names the memory-mapped matrix in `cache`."""
    with pq.ParquetFile(parquet) as file:
        names = tuple(name for name in file.schema_arrow.names if name != "match_id")
        ids = file.read(columns=["match_id"])["match_id"].to_numpy().astype(np.int64)
    order = np.argsort(ids)
    matrix = FeatureMatrix(parquet, cache / f"{sha256}.f32", names, len(ids))
    # a limiter of its own: rows that are read slowly take no turn from other reads
    slow = Database(open_connection(threads=1, memory="512MB"), QueryLimiter(1, _SLOW_QUEUE))
    return FeatureRows(names, ids[order], order, parquet, matrix, slow)
