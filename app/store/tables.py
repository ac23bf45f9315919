"""The tables that every read uses, built from artifact files in which optional columns are filled in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from app.artifacts import contract
from app.store.database import Connection, Relation
from app.store.money import MoneyRules, money_table, region_roi_table

# columns that the contract leaves open, and what stands for them in a file without
PREDICTIONS: Mapping[str, str] = {
    "has_time": "true",  # every kick-off counts as published
    "in_sample": "false",  # every prediction counts as made by a model that had not seen the result
    "n_history_home": "NULL::SMALLINT",
    "n_history_away": "NULL::SMALLINT",
}
ODDS: Mapping[str, str] = {
    **{f"closing_{side}": "NULL::DOUBLE" for side in ("home", "draw", "away")},
    "closing_source": "NULL::VARCHAR",
}
ROI_BY_REGION: Mapping[str, str] = {
    "n_clv": "NULL::BIGINT",
    **dict.fromkeys(("max_drawdown", "clv_pct", "clv_ci_low", "clv_ci_high"), "NULL::DOUBLE"),
}


def parquet(connection: Connection, files: Sequence[Path], optional: Mapping[str, str]) -> Relation:
    """The rows of parquet files of one kind, completed."""
    return completed(connection.read_parquet([str(file) for file in files], union_by_name=True), optional)


def completed(rows: Relation, optional: Mapping[str, str]) -> Relation:
    """The rows, with the optional columns that they lack."""
    lacking = [f"{sql} AS {name}" for name, sql in optional.items() if name not in rows.columns]
    return rows.project(", ".join(["*", *lacking]))


_HERE = Path(__file__).parent
_ROI_TYPES: Mapping[str, str] = {
    "region": "VARCHAR",
    "settled_until": "TIMESTAMPTZ",
    **dict.fromkeys(("n_matches", "n_bets", "n_wins"), "BIGINT"),
    **dict.fromkeys(("hit_rate", "staked", "profit", "roi_pct", "roi_ci_low", "roi_ci_high"), "DOUBLE"),
}
_HISTORY: Mapping[str, Mapping[str, str]] = {"predictions": PREDICTIONS, "odds": {}, "results": {}}


def fill_from_folder(connection: Connection, folder: Path, at: datetime, rules: MoneyRules) -> None:
    """Open a folder's artifacts as views and build the tables as they stand `at` the time they were built."""
    parquet(connection, [folder / contract.PREDICTIONS], PREDICTIONS).create_view("predictions")
    parquet(connection, [folder / contract.ODDS], ODDS).create_view("odds")
    parquet(connection, [folder / contract.FEATURES], {}).create_view("features")
    _open_history(connection, folder)
    connection.execute(
        "CREATE TEMP TABLE settled AS SELECT * FROM read_csv($file, header = true, types = $types)",
        {"file": str(folder / contract.ROI_BY_REGION), "types": _ROI_TYPES},
    )
    completed(connection.table("settled"), ROI_BY_REGION).create("roi_by_region")
    connection.execute("DROP TABLE settled")
    connection.register("money", money_table(connection, rules))
    build_cards(connection, at, rules)
    connection.unregister("money")


def _open_history(connection: Connection, folder: Path) -> None:
    """The history as views, which read nothing yet; of a folder without, what its artifacts say of it."""
    connection.execute(read_table_sql("implied"))
    for kind, optional in _HISTORY.items():
        parts = sorted(folder.glob(contract.history_pattern(kind)))
        if parts:
            parquet(connection, parts, optional).create_view(f"history_{kind}")
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
