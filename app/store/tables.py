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


def fill_from_folder(connection: Connection, folder: Path, at: datetime, rules: MoneyRules) -> None:
    """Open a folder's artifacts as views and build the tables as they stand `at` the time they were built."""
    relations.parquet(connection, [folder / contract.PREDICTIONS], relations.PREDICTIONS).create_view("predictions")
    relations.parquet(connection, [folder / contract.ODDS], relations.ODDS).create_view("odds")
    relations.parquet(connection, [folder / contract.FEATURES], {}).create_view("features")
    connection.execute(
        "CREATE TEMP TABLE settled AS SELECT * FROM read_csv($file, header = true, types = $types)",
        {"file": str(folder / contract.ROI_BY_REGION), "types": _ROI_TYPES},
    )
    relations.completed(connection.table("settled"), relations.ROI_BY_REGION).create("roi_by_region")
    connection.execute("DROP TABLE settled")
    connection.register("money", money_table(connection, rules))
    build_cards(connection, at, rules)
    connection.unregister("money")


def build_cards(connection: Connection, at: datetime, rules: MoneyRules) -> None:
    """Build `cards` from the relations predictions, odds, money and roi_by_region; ages are those `at` that time."""
    connection.register("region_roi", region_roi_table(connection, _sql("region_roi"), rules))
    connection.execute("SET VARIABLE seen_at = $at", {"at": at})
    connection.execute(_sql("cards"))
    connection.unregister("region_roi")


def _sql(name: str) -> str:
    return (_HERE / f"{name}.sql").read_text(encoding="utf-8")
