"""The feature rows of every match, looked up by match id in microseconds.

A parquet of 508 columns is the wrong way round for one row: 42 ms a lookup. A DuckDB table with the row as FLOAT[508]
took 7 s and 1 GB to build for 265,000 matches and 0.5 ms a lookup; the rows as one memory-mapped file took 3 s once,
then nothing at a restart, 8 us a lookup, and its pages are the operating system's to share and to drop.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

_BLOCK_BYTES = 64 * 2**20  # decoded at once
_KEPT_FILES = 2  # the one in use, and the one before it that another process may be about to open


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Feature rows by match id; `names` is the order of the values in a row."""

    names: tuple[str, ...]
    _sorted_ids: npt.NDArray[np.int64]
    _positions: npt.NDArray[np.int64]
    _matrix: npt.NDArray[np.float32]

    def find(self, match_id: int) -> bytes | None:
        """The row of a match as little-endian float32, NaN where unknown; None when there is none."""
        at = int(np.searchsorted(self._sorted_ids, match_id))
        if at == len(self._sorted_ids) or self._sorted_ids[at] != match_id:
            return None
        row: npt.NDArray[np.float32] = self._matrix[self._positions[at]]
        return row.tobytes()

    def __len__(self) -> int:
        return len(self._sorted_ids)


def open_features(parquet: Path, sha256: str, cache: Path) -> FeatureRows:
    """Open the rows of a parquet file; `sha256` of its contents names the memory-mapped twin in `cache`."""
    file = pq.ParquetFile(parquet)
    names = tuple(name for name in file.schema_arrow.names if name != "match_id")
    ids = file.read(columns=["match_id"])["match_id"].to_numpy().astype(np.int64)
    twin = cache / f"{sha256}.f32"
    if not twin.exists() or twin.stat().st_size != len(ids) * len(names) * 4:
        _write_twin(file, names, twin)
    os.utime(twin)
    _forget_old(cache)
    matrix = np.memmap(twin, dtype="<f4", mode="r").reshape(len(ids), len(names))
    order = np.argsort(ids)
    return FeatureRows(names, ids[order], order, matrix)


def _write_twin(file: pq.ParquetFile, names: tuple[str, ...], twin: Path) -> None:
    twin.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=twin.parent, prefix="building-", delete=False) as part:
        path = Path(part.name)
    try:
        _copy_rows(file, names, path)
        path.replace(twin)
    except BaseException:
        path.unlink()
        raise
    # Arrow keeps what it has freed; here that is as much as the file is large
    pa.default_memory_pool().release_unused()


def _copy_rows(file: pq.ParquetFile, names: tuple[str, ...], path: Path) -> None:
    matrix = np.memmap(path, dtype="<f4", mode="w+", shape=(file.metadata.num_rows, len(names)))
    start = 0
    for group in range(file.num_row_groups):
        end = start + file.metadata.row_group(group).num_rows
        # a writer may have made one row group of everything: then few columns at a time
        width = max(1, _BLOCK_BYTES // (4 * max(1, end - start)))
        for left in range(0, len(names), width):
            columns = list(names[left : left + width])
            (block,) = file.read_row_group(group, columns=columns).combine_chunks().to_batches() or (None,)
            if block is not None:
                matrix[start:end, left : left + width] = block.to_tensor(null_to_nan=True).to_numpy()
        start = end
    matrix.flush()


def _forget_old(cache: Path) -> None:
    newest_first = sorted(cache.glob("*.f32"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT_FILES:]:
        path.unlink(missing_ok=True)
