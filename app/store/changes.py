"""Which matches differ between two snapshots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.artifacts import contract
from app.store.database import Connection
from app.store.snapshot import Snapshot

LISTED_MATCHES = 1000
_TIMEOUT_S = 60.0
_PROBABILITIES = ("proba_home", "proba_draw", "proba_away")
# what a reader would see change; the time of capture alone changes nothing
_FILES: Mapping[str, tuple[str, Sequence[str]]] = {
    "odds": (contract.ODDS, ("odds_home", "odds_draw", "odds_away", "bookmaker")),
    "predictions": (
        contract.PREDICTIONS,
        (*_PROBABILITIES, "kickoff_utc", "status", "home_score", "away_score", "model_version"),
    ),
}
_SQL = """
WITH differing AS (
    SELECT match_id
    FROM (SELECT true AS is_there, match_id, {columns} FROM read_parquet(?)) AS old
    FULL JOIN (SELECT true AS is_there, match_id, {columns} FROM read_parquet(?)) AS new USING (match_id)
    WHERE old.is_there IS DISTINCT FROM new.is_there OR {differs}
)
SELECT match_id, count(*) OVER ()
FROM differing LEFT JOIN (SELECT match_id, kickoff_utc, status FROM predictions) USING (match_id)
ORDER BY status IS NOT DISTINCT FROM 'finished', kickoff_utc, match_id
LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class ChangedMatches:
    """Matches that differ: `total` of them, the first of which are listed."""

    match_ids: list[int]
    total: int


async def find_changes(old: Snapshot, new: Snapshot) -> dict[str, ChangedMatches]:
    """What differs in `odds` and `predictions`; no entry where nothing does. Both must be held open."""
    suspects = [what for what, (file, _) in _FILES.items() if _stamp(old, file) != _stamp(new, file)]
    found = {what: await new.database.run(_comparing(old, new, what), timeout_s=_TIMEOUT_S) for what in suspects}
    return {what: changed for what, changed in found.items() if changed.total}


def _stamp(snapshot: Snapshot, file: str) -> str:
    return snapshot.manifest.files[file].sha256


def _comparing(old: Snapshot, new: Snapshot, what: str) -> Callable[[Connection], ChangedMatches]:
    file, columns = _FILES[what]
    differs = " OR ".join(f"old.{name} IS DISTINCT FROM new.{name}" for name in columns)
    params = [str(old.folder / file), str(new.folder / file), LISTED_MATCHES]

    def compare(cursor: Connection) -> ChangedMatches:
        rows = cursor.execute(_SQL.format(columns=", ".join(columns), differs=differs), params).fetchall()
        return ChangedMatches([match_id for match_id, _ in rows], rows[0][1] if rows else 0)

    return compare
