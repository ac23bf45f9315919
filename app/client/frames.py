"""Tables of the API as Arrow, pandas or Polars frames; each library is needed only by who asks for its frame."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Frame:
    """A table as the service sent it: Arrow streams, one a page, all of one snapshot.

    Columns are flat (`odds_home`, `best_edge`), and times are UTC.
    """

    streams: tuple[bytes, ...]
    snapshot_id: str | None

    def to_arrow(self) -> "pa.Table":
        """Return a table of pyarrow; needs `pyarrow`."""
        from pyarrow import concat_tables, ipc  # noqa: PLC0415  # optional

        tables = []
        for stream in self.streams:
            with ipc.open_stream(stream) as reader:
                tables.append(reader.read_all())
        return concat_tables(tables)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a frame of pandas; needs `pyarrow` and `pandas`."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> Any:
        """Return a frame of Polars; needs `polars` alone."""
        import polars as pl  # noqa: PLC0415  # optional

        return pl.concat([pl.read_ipc_stream(io.BytesIO(stream)) for stream in self.streams])
