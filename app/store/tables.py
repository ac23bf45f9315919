"""The tables that every read uses, built from the artifacts or from what was known of them at some time."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from app.store import contract, relations
from app.store.lake import Connection
from app.store.money import MoneyRules, money_table, region_roi_table

_HERE = Path(__file__).parent
_ROI_TYPES: Mapping[str, str] = {
    "region": "VARCHAR",
    "settled_until": "TIMESTAMPTZ",
    **dict.fromkeys(("n_matches", "n_bets", "n_wins"), "BIGINT"),
    **dict.fromkeys(("hit_rate", "staked", "profit", "roi_pct", "roi_ci_low", "roi_ci_high"), "DOUBLE"),
}
_HISTORY: Mapping[str, Mapping[str, str]] = {"predictions": relations.PREDICTIONS, "odds": {}, "results": {}}


def fill_from_folder(connection: Connection, folder: Path, at: datetime, rules: MoneyRules) -> None:
    """Open a folder's artifacts as views and build the tables as they stand `at` the time they were built."""
    relations.parquet(connection, [folder / contract.PREDICTIONS], relations.PREDICTIONS).create_view("predictions")
    relations.parquet(connection, [folder / contract.ODDS], relations.ODDS).create_view("odds")
    relations.parquet(connection, [folder / contract.FEATURES], {}).create_view("features")
    _open_history(connection, folder)
    connection.execute(
        "CREATE TEMP TABLE settled AS SELECT * FROM read_csv($file, header = true, types = $types)",
        {"file": str(folder / contract.ROI_BY_REGION), "types": _ROI_TYPES},
    )
    relations.completed(connection.table("settled"), relations.ROI_BY_REGION).create("roi_by_region")
    connection.execute("DROP TABLE settled")
    connection.register("money", money_table(connection, rules))
    build_cards(connection, at, rules)
    connection.unregister("money")


def _open_history(connection: Connection, folder: Path) -> None:
    """The history as views, which read nothing yet; of a folder without, what its artifacts say of it."""
    connection.execute(sql_of("implied"))
    for kind, optional in _HISTORY.items():
        parts = sorted(folder.glob(contract.history_pattern(kind)))
        if parts:
            relations.parquet(connection, parts, optional).create_view(f"history_{kind}")
        else:
            connection.execute(f"CREATE VIEW history_{kind} AS FROM implied_{kind}")


def build_cards(connection: Connection, at: datetime, rules: MoneyRules) -> None:
    """Build `cards` from the relations predictions, odds, money and roi_by_region; ages are those `at` that time."""
    connection.register("region_roi", region_roi_table(connection, sql_of("region_roi"), rules))
    connection.execute("SET VARIABLE seen_at = $at", {"at": at})
    connection.execute(sql_of("cards"))
    connection.unregister("region_roi")


def sql_of(name: str) -> str:
    """The text of one of the .sql files here."""
    return (_HERE / f"{name}.sql").read_text(encoding="utf-8")
