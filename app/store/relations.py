"""Artifact files as relations in which every column that readers name is there, asked of the writer or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.store.lake import Connection, Relation

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
