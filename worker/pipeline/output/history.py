"""Appends what a build or an import says anew to the history of predictions, odds and results.

A part, once published, is never written again: a build links the parts before it and adds its own, named by the moment
of writing, to that day's folder. Nothing is added that counts as known before the history's end, so an answer about an
earlier time stays what it was.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from app.artifacts import contract
from app.artifacts.columns import HISTORY_COLUMNS
from app.artifacts.manifest import Manifest
from app.store import tables
from app.store.database import Connection, open_connection
from app.store.tables import read_table_sql
from worker.pipeline.atomic_file import replace_file

_MOMENT = timedelta(microseconds=1)
_EMPTY = "SELECT * FROM implied_{kind} WHERE false"
# known since the end of the history, or from now on; nothing counts from the future
_ADDED = """
COPY (
    SELECT * REPLACE (
        CASE WHEN known_at > getvariable('until') AND known_at <= getvariable('now') THEN known_at
        ELSE getvariable('now') END AS known_at
    ) FROM new_{kind} ORDER BY known_at, match_id
) TO '{out}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 61440)
"""


@dataclass(frozen=True, slots=True)
class EarlierHistory:
    """A published history: its parts, by name, and the moment up to which nothing is ever added; or none yet."""

    folder: Path
    parts: tuple[str, ...] = ()
    until: datetime | None = None

    @classmethod
    def of_folder(cls, folder: Path, manifest: Manifest) -> "EarlierHistory":
        """The history that a folder has published."""
        parts = tuple(sorted(name for name in manifest.files if contract.history_kind(name)))
        return cls(folder, parts, manifest.history_until if parts else None)


def extend_history(staged: Path, earlier: EarlierHistory, now: datetime) -> datetime:
    """Add to the history what the staged predictions and odds say anew, and let those odds be the standing ones.

    The parts of the earlier history are linked into the staged folder. Returns the new end of the history.
    """
    until = earlier.until
    # clocks may be set back; what is added must still come after all that is there
    now = max(now, until + _MOMENT) if until else now
    _link(earlier, staged)
    with closing(open_connection(memory="3GB")) as connection:
        connection.execute("SET VARIABLE now = $now", {"now": now})
        connection.execute("SET VARIABLE until = $until", {"until": until or datetime.min.replace(tzinfo=UTC)})
        connection.execute("SET VARIABLE seen_at = $now", {"now": now})
        _open(connection, staged, earlier)
        connection.execute(files("worker.pipeline.output").joinpath("history.sql").read_text("utf-8"))
        for kind in HISTORY_COLUMNS:
            _write_part(connection, staged, kind, now)
        _write_standing(connection, staged, "odds", "quotes", contract.ODDS)
        if earlier.parts and (staged / contract.PRICES).is_file():
            _write_standing(connection, staged, "prices", "price_quotes", contract.PRICES)
    return now


def _link(earlier: EarlierHistory, staged: Path) -> None:
    for name in earlier.parts:
        path = staged / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink():
            path.symlink_to((earlier.folder / name).resolve())


def _open(connection: Connection, staged: Path, earlier: EarlierHistory) -> None:
    predictions, odds = staged / contract.PREDICTIONS, staged / contract.ODDS
    tables.parquet(connection, [predictions], tables.PREDICTIONS).create_view("predictions")
    tables.parquet(connection, [odds], tables.ODDS).create("odds")
    tables.open_prices(connection, staged)
    connection.execute(read_table_sql("implied"))
    for kind in HISTORY_COLUMNS:
        parts = [staged / name for name in earlier.parts if contract.history_kind(name) == kind]
        if parts:
            tables.parquet(connection, parts, {}).create_view(f"old_{kind}")
        else:
            connection.execute(f"CREATE VIEW old_{kind} AS {_EMPTY.format(kind=kind)}")


def _write_part(connection: Connection, staged: Path, kind: str, now: datetime) -> None:
    if connection.table(f"new_{kind}").limit(1).fetchall():
        part = staged / "history" / kind / f"day={now:%Y-%m-%d}" / f"part-{now:%H%M%S%f}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        connection.execute(_ADDED.format(kind=kind, out=_quoted(part)))


def _write_standing(connection: Connection, staged: Path, kind: str, view: str, name: str) -> None:
    """Write into the artifact `name` what stands of a kind's history; `view` is what its SQL calls the rows."""
    parts = sorted(staged.glob(contract.history_pattern(kind)))
    if not parts:
        return
    tables.parquet(connection, parts, {}).create_view(view)
    # a view of the old rows may still be read
    with replace_file(staged / name) as part:
        rows = read_table_sql(f"standing_{kind}")
        connection.execute(f"COPY ({rows}) TO '{_quoted(part)}' (FORMAT parquet, COMPRESSION zstd)")


def _quoted(path: Path) -> str:
    # COPY takes its target as a literal only
    return str(path).replace("'", "''")
