"""The tables that every read uses, built from artifact files in which optional columns are filled in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from app.artifacts import contract
from app.artifacts.columns import OPTIONAL_MONEY_COLUMNS
from app.store.database import Connection, Relation, to_name
from app.store.money import MoneyRules, money_table, region_roi_table


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as the tables have it: its SQL type, and what stands for it in a file without it (None: nothing)."""

    kind: str
    default: str | None = None

    def select(self, name: str, names: Collection[str]) -> str:
        """SQL of the column, out of a file that has these names."""
        if name not in names and self.default is not None:
            return f"{self.default}::{self.kind} AS {name}"
        if self.kind == "BOOLEAN":
            return f"coalesce(try_cast({name} AS BOOLEAN), {self.default}) AS {name}"
        return f"{name}::{self.kind} AS {name}"


_TEXT, _INSTANT, _NUMBER = TableColumn("VARCHAR"), TableColumn("TIMESTAMPTZ"), TableColumn("DOUBLE")
# files may hold other widths, units and encodings than these; the contract says which, and that the values fit
_FIXTURE: Mapping[str, TableColumn] = {
    "match_id": TableColumn("BIGINT"),
    "kickoff_utc": _INSTANT,
    "has_time": TableColumn("BOOLEAN", "true"),  # every kick-off counts as published
    **dict.fromkeys(("region", "tournament", "season", "home_team", "away_team"), _TEXT),
}
_RESULT: Mapping[str, TableColumn] = {
    "status": _TEXT,
    **dict.fromkeys(("home_score", "away_score"), TableColumn("SMALLINT")),
    "outcome": TableColumn("TINYINT"),
}
_PREDICTION: Mapping[str, TableColumn] = {
    **dict.fromkeys(("proba_home", "proba_draw", "proba_away"), _NUMBER),
    "predicted_class": TableColumn("TINYINT"),
    **dict.fromkeys(("model_name", "model_version", "model_stage", "model_run_id"), _TEXT),
    "computed_at": _INSTANT,
    "in_sample": TableColumn("BOOLEAN", "false"),  # every prediction counts as made without knowing the result
    **dict.fromkeys(("n_history_home", "n_history_away"), TableColumn("BIGINT", "NULL")),
}
_OFFER: Mapping[str, TableColumn] = {
    "match_id": TableColumn("BIGINT"),
    **dict.fromkeys(("odds_home", "odds_draw", "odds_away"), _NUMBER),
    "bookmaker": _TEXT,
    "event_url": _TEXT,
    "captured_at": _INSTANT,
}
PREDICTIONS: Mapping[str, TableColumn] = {
    **_FIXTURE,
    **_RESULT,
    **_PREDICTION,
    "no_odds_reason": TableColumn("VARCHAR", "NULL"),
}
ODDS: Mapping[str, TableColumn] = {
    **_OFFER,
    **dict.fromkeys(("closing_home", "closing_draw", "closing_away"), TableColumn("DOUBLE", "NULL")),
    "closing_source": TableColumn("VARCHAR", "NULL"),
}
PRICES: Mapping[str, TableColumn] = {
    "match_id": TableColumn("BIGINT"),
    "bookmaker": _TEXT,
    **dict.fromkeys(("odds_home", "odds_draw", "odds_away"), _NUMBER),
    "captured_at": _INSTANT,
    "kind": _TEXT,
    "url": _TEXT,
}
HISTORY: Mapping[str, Mapping[str, TableColumn]] = {
    "predictions": {**_FIXTURE, **_PREDICTION, "known_at": _INSTANT},
    "odds": {**_OFFER, "kind": _TEXT, "known_at": _INSTANT},
    "prices": {**PRICES, "known_at": _INSTANT},
    "results": {"match_id": TableColumn("BIGINT"), **_RESULT, "known_at": _INSTANT},
}


def parquet(connection: Connection, files: Sequence[Path], columns: Mapping[str, TableColumn]) -> Relation:
    """The rows of parquet files of one kind: these columns and no others; all as they are when none is named.

    A column of the file's own could be taken for one of another table where tables meet.
    """
    rows = _read(connection, files)
    return rows.project(", ".join(_selected(rows, columns))) if columns else rows


def _read(connection: Connection, files: Sequence[Path]) -> Relation:
    return connection.read_parquet([str(file) for file in files], union_by_name=True)


def _selected(rows: Relation, columns: Mapping[str, TableColumn]) -> list[str]:
    return [column.select(name, rows.columns) for name, column in columns.items()]


def _with_own_columns(rows: Relation, columns: Mapping[str, TableColumn]) -> Relation:
    """These columns, and those that the file has beside them."""
    own = [to_name(name) for name in rows.columns if name.lower() not in columns]
    return rows.project(", ".join([*_selected(rows, columns), *own]))


_HERE = Path(__file__).parent


def fill_from_folder(connection: Connection, folder: Path, at: datetime, rules: MoneyRules) -> None:
    """Open a folder's artifacts as views and build the tables as they stand `at` the time they were built."""
    for name, file, columns in (("predictions", contract.PREDICTIONS, PREDICTIONS), ("odds", contract.ODDS, ODDS)):
        rows = _read(connection, [folder / file])
        rows.project(", ".join(_selected(rows, columns))).create_view(name)
        # for those who ask in SQL
        _with_own_columns(rows, columns).create_view(f"{name}_with_own_columns")
    open_prices(connection, folder)
    _read(connection, [folder / contract.FEATURES]).create_view("features")
    _open_history(connection, folder)
    _fill_region_roi(connection, folder / contract.ROI_BY_REGION)
    weights = contract.read_consensus(folder)
    connection.register("money", money_table(connection, rules, weights, at))
    build_cards(connection, at, rules)
    connection.unregister("money")


def open_prices(connection: Connection, folder: Path) -> None:
    """Open the prices of all bookmakers as a view; one without rows where a folder has none."""
    file = folder / contract.PRICES
    if file.is_file():
        parquet(connection, [file], PRICES).create_view("prices")
    else:
        nothing = ", ".join(f"NULL::{column.kind} AS {name}" for name, column in PRICES.items())
        connection.execute(f"CREATE VIEW prices AS SELECT {nothing} WHERE false")


def _fill_region_roi(connection: Connection, file: Path) -> None:
    table = contract.read_money_table(file)
    for name, kind in OPTIONAL_MONEY_COLUMNS.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    connection.register("settled", table)
    connection.execute("CREATE TABLE roi_by_region AS FROM settled")
    connection.unregister("settled")


def _open_history(connection: Connection, folder: Path) -> None:
    """The history as views, which read nothing yet; of a folder without, what its artifacts say of it."""
    connection.execute(read_table_sql("implied"))
    for kind, columns in HISTORY.items():
        parts = sorted(folder.glob(contract.history_pattern(kind)))
        if parts:
            parquet(connection, parts, columns).create_view(f"history_{kind}")
        else:
            connection.execute(f"CREATE VIEW history_{kind} AS FROM implied_{kind}")


def build_cards(connection: Connection, at: datetime, rules: MoneyRules) -> None:
    """Build `cards` from the relations predictions, odds, money and roi_by_region; ages are those `at` that time."""
    connection.register("region_roi", region_roi_table(connection, read_table_sql("region_roi"), rules))
    connection.execute("SET VARIABLE seen_at = $at", {"at": at})
    connection.execute(read_table_sql("cards"))
    connection.unregister("region_roi")


def read_table_sql(name: str) -> str:
    """The text of one of the .sql files here."""
    return (_HERE / f"{name}.sql").read_text(encoding="utf-8")
