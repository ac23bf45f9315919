"""The precomputed predictions."""

from app.store.fields import Listing, columns, instants, outcome_columns, per_outcome, struct, struct_column
from app.store.snapshot import Snapshot

SHAPE = (
    columns("match_id")
    | instants("kickoff_utc")
    | columns("kickoff_known", "region", "tournament", "season", "home_team", "away_team", "status")
    | columns("home_score", "away_score", "outcome")
    | struct_column("probabilities", outcome_columns("proba"), per_outcome("proba"))
    | columns("predicted", "in_sample")
    | struct_column(
        "model",
        struct(name="model_name", version="model_version", stage="model_stage", run_id="model_run_id"),
        columns("model_name", "model_version", "model_stage", "model_run_id"),
    )
    | instants("computed_at")
)
ROWS = "predictions"  # the file that holds each as JSON


def all_predictions() -> Listing:
    """Every prediction, by kick-off."""
    return Listing(SHAPE, "cards")


async def find_prediction(snapshot: Snapshot, match_id: int) -> bytes | None:
    """One prediction as a JSON object; None when there is no such match."""
    rows = snapshot.row_file(ROWS)
    if rows is not None:
        return rows.find(match_id)
    sql = f"SELECT to_json({SHAPE.json()}) FROM cards WHERE match_id = ?"  # noqa: S608
    found = await snapshot.database.fetch(sql, [match_id])
    return found[0][0].encode() if found else None
