"""The precomputed predictions."""

from app.store.listing import Listing
from app.store.shape import by_outcome, each, group, plain, struct, times
from app.store.snapshot import Snapshot

SHAPE = (
    plain("match_id")
    | times("kickoff_utc")
    | plain("kickoff_known", "region", "tournament", "season", "home_team", "away_team", "status")
    | plain("home_score", "away_score", "outcome")
    | group("probabilities", by_outcome("proba"), each("proba"))
    | plain("predicted", "in_sample")
    | group(
        "model",
        struct(name="model_name", version="model_version", stage="model_stage", run_id="model_run_id"),
        plain("model_name", "model_version", "model_stage", "model_run_id"),
    )
    | times("computed_at")
)


def all_predictions() -> Listing:
    """Every prediction, by kick-off."""
    return Listing(SHAPE, "cards")


async def find_prediction(snapshot: Snapshot, match_id: int) -> bytes | None:
    """One prediction as a JSON object; None when there is no such match."""
    sql = f"SELECT to_json({SHAPE.json()}) FROM cards WHERE match_id = ?"  # noqa: S608
    rows = await snapshot.lake.fetch(sql, [match_id])
    return rows[0][0].encode() if rows else None
