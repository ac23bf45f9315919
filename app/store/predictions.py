"""The precomputed predictions."""

from app.store.listing import Listing, instant, struct
from app.store.snapshot import Snapshot

_MATCH = ("match_id", "region", "tournament", "season", "home_team", "away_team", "status", "home_score", "away_score")
COLUMNS = (
    "match_id, kickoff_utc, kickoff_known, region, tournament, season, home_team, away_team, status, "
    "home_score, away_score, outcome, proba_home, proba_draw, proba_away, predicted, in_sample, "
    "model_name, model_version, model_stage, model_run_id, computed_at"
)
MEMBERS = {
    **{name: name for name in _MATCH},
    "kickoff_utc": instant("kickoff_utc"),
    "kickoff_known": "kickoff_known",
    "outcome": "outcome",
    "probabilities": struct(home="proba_home", draw="proba_draw", away="proba_away"),
    "predicted": "predicted",
    "in_sample": "in_sample",
    "model": struct(name="model_name", version="model_version", stage="model_stage", run_id="model_run_id"),
    "computed_at": instant("computed_at"),
}
_JSON_ROW = struct(**MEMBERS)


def all_predictions() -> Listing:
    """Every prediction, by kick-off."""
    return Listing(_JSON_ROW, COLUMNS, "cards")


async def find_prediction(snapshot: Snapshot, match_id: int) -> bytes | None:
    """One prediction as a JSON object; None when there is no such match."""
    sql = f"SELECT to_json({_JSON_ROW}) FROM cards WHERE match_id = ?"  # noqa: S608
    rows = await snapshot.lake.fetch(sql, [match_id])
    return rows[0][0].encode() if rows else None
