"""Writes predictions.parquet: every match with its probabilities and the model behind them."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa

from app.store.database import open_connection
from worker.pipeline.output.odds_file import IS_PRICED

# What the model knows of a team: its matches of the last year and summer. Older ones say little: where a team had not
# been seen for 200 days, the model lost 0.037 nats a match to the bookmaker's price, eight times what it loses else.
_HISTORIES = """
CREATE TEMP TABLE histories AS
WITH teams AS (
    SELECT match_id, kickoff_utc::DATE AS day, status = 'finished' AS is_played, region,
        unnest([home_team, away_team]) AS team, unnest(['home', 'away']) AS side
    FROM read_parquet($matches)
),
counted AS (
    SELECT match_id, side, count(*) FILTER (is_played) OVER (
        PARTITION BY region, team ORDER BY day
        RANGE BETWEEN INTERVAL 400 DAYS PRECEDING AND INTERVAL 1 DAY PRECEDING
    ) AS n FROM teams
)
SELECT match_id, max(n) FILTER (side = 'home') AS home, max(n) FILTER (side = 'away') AS away
FROM counted GROUP BY match_id
"""

# SUM TO ONE holds in float64 because the probabilities were normalised in float64; nothing here rounds them
_PREDICTIONS = """
COPY (
    SELECT match_id, kickoff_utc, region, tournament, season, home_team, away_team, status,
        home_score::SMALLINT AS home_score, away_score::SMALLINT AS away_score, outcome::TINYINT AS outcome,
        proba_home, proba_draw, proba_away, predicted_class::TINYINT AS predicted_class,
        model_name, model_version, model_stage, model_run_id,
        coalesce(predicted_at, $computed_at)::TIMESTAMPTZ AS computed_at, in_sample,
        histories.home::SMALLINT AS n_history_home, histories.away::SMALLINT AS n_history_away,
        division, tier, has_time,
        -- in the words of the artifacts contract
        CASE
            WHEN {is_priced} AND odds_unsound THEN 'contradicted_price'
            WHEN {is_priced} THEN NULL
            WHEN avgc_home > 1 OR b365c_home > 1 OR psc_home > 1 THEN 'no_opening_price'
            ELSE 'no_price'
        END AS no_odds_reason
    FROM read_parquet($matches) JOIN probabilities USING (match_id) JOIN histories USING (match_id)
    ORDER BY kickoff_utc, match_id
) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
"""


def write_predictions(matches: Path, probabilities: pa.Table, out: Path, computed_at: datetime) -> int:
    """Join matches and probabilities (the columns that `predict_all` gives) into `out`; the number of rows.

    Probabilities from before have their time in `predicted_at`; where it is null, or not there, they are of now.
    """
    if "predicted_at" not in probabilities.column_names:
        unknown = pa.nulls(probabilities.num_rows, pa.timestamp("us", "UTC"))
        probabilities = probabilities.append_column("predicted_at", unknown)
    connection = open_connection()
    try:
        connection.register("probabilities", probabilities)
        connection.execute(_HISTORIES, {"matches": str(matches)})
        parameters = {"matches": str(matches), "computed_at": computed_at}
        ((n_rows,),) = connection.execute(
            _PREDICTIONS.format(out=_quoted(out), is_priced=IS_PRICED), parameters
        ).fetchall()
    finally:
        connection.close()
    return int(n_rows)


def _quoted(path: Path) -> str:
    # COPY takes its target as a literal only
    return str(path).replace("'", "''")
