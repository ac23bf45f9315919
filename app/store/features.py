"""The feature rows of every match, looked up by match id in microseconds.

A parquet of 508 columns is the wrong way round for one row: 42 ms a lookup. A DuckDB table with the row as FLOAT[508]
took 7 s and 1 GB to build for 265,000 matches and 0.5 ms a lookup; the rows as one memory-mapped file took 3 s once,
then nothing at a restart, 8 us a lookup, and its pages are the operating system's to share and to drop. Nobody waits
for those 3 s: until the file is there, rows come from the parquet.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from app.store.lake import Connection, connect
from app.store.twin import Twin

_SLOWLY = "SELECT * EXCLUDE (match_id) FROM read_parquet($parquet) WHERE match_id = $match_id"


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Feature rows by match id; `names` is the order of the values in a row."""

    names: tuple[str, ...]
    _sorted_ids: npt.NDArray[np.int64]
    _positions: npt.NDArray[np.int64]
    _parquet: Path
    _twin: Twin
    _slow: Connection

    def find(self, match_id: int) -> bytes | None:
        """The row of a match as little-endian float32, NaN where unknown; None when there is none."""
        at = int(self._sorted_ids.searchsorted(match_id))
        if at == len(self._sorted_ids) or self._sorted_ids[at] != match_id:
            return None
        matrix = self._twin.matrix
        if matrix is None:
            return self._find_slowly(match_id)
        row: npt.NDArray[np.float32] = matrix[self._positions[at]]
        return row.tobytes()

    def _find_slowly(self, match_id: int) -> bytes:
        with self._slow.cursor() as cursor:
            (row,) = cursor.execute(_SLOWLY, {"parquet": str(self._parquet), "match_id": match_id}).fetchall()
        # None becomes NaN
        return np.array(row, dtype="<f4").tobytes()

    @property
    def fault(self) -> str | None:
        """Why rows are read slowly, and will be; None when they are not."""
        return self._twin.fault

    def wait(self) -> None:
        """Until rows are found fast, or it is known that they will not be."""
        self._twin.wait()

    def close(self) -> None:
        """Stop what is still being built."""
        self._twin.close()
        self._slow.close()

    def __len__(self) -> int:
        return len(self._sorted_ids)


def open_features(parquet: Path, sha256: str, cache: Path) -> FeatureRows:
    """Open the rows of a parquet file; `sha256` of its contents names the memory-mapped twin in `cache`."""
    with pq.ParquetFile(parquet) as file:
        names = tuple(name for name in file.schema_arrow.names if name != "match_id")
        ids = file.read(columns=["match_id"])["match_id"].to_numpy().astype(np.int64)
    order = np.argsort(ids)
    twin = Twin(parquet, cache / f"{sha256}.f32", names, len(ids))
    return FeatureRows(names, ids[order], order, parquet, twin, connect(threads=1, memory="512MB"))
