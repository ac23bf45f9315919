"""Writes predictions.parquet: every match with its probabilities and the model behind them."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa

from app.store.lake import connect

# SUM TO ONE holds in float64 because the probabilities were normalised in float64; nothing here rounds them
_PREDICTIONS = """
COPY (
    SELECT match_id, kickoff_utc, region, tournament, season, home_team, away_team, status,
        home_score::SMALLINT AS home_score, away_score::SMALLINT AS away_score, outcome::TINYINT AS outcome,
        proba_home, proba_draw, proba_away, predicted_class::TINYINT AS predicted_class,
        model_name, model_version, model_stage, model_run_id,
        $computed_at::TIMESTAMPTZ AS computed_at, in_sample, n_history_home, n_history_away,
        division, tier, has_time
    FROM read_parquet($matches) JOIN probabilities USING (match_id)
    ORDER BY kickoff_utc, match_id
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""


def write_predictions(matches: Path, probabilities: pa.Table, out: Path, computed_at: datetime) -> int:
    """Join matches and probabilities (the columns that `predict_all` gives) into `out`; the number of rows."""
    connection = connect()
    try:
        connection.register("probabilities", probabilities)
        parameters = {"matches": str(matches), "computed_at": computed_at}
        (written,) = connection.execute(_PREDICTIONS.format(out=_quoted(out)), parameters).fetchall()
    finally:
        connection.close()
    return int(written[0])


def _quoted(path: Path) -> str:
    # COPY takes its target as a literal only
    return str(path).replace("'", "''")
