"""Results and closing prices of given matches."""

from collections.abc import Sequence

from app.domain.outcomes import Outcome
from app.domain.results import MatchResult
from app.store.database import Connection, Row
from app.store.snapshot import Snapshot

# the contract leaves closing prices and has_time open
_CLOSING = "closing_home, closing_draw, closing_away"
_NO_CLOSING = "NULL::DOUBLE, NULL::DOUBLE, NULL::DOUBLE"
_FIND = """
SELECT match_id, kickoff_utc, coalesce(try_cast(has_time AS BOOLEAN), true),
    CASE WHEN status = 'finished' THEN outcome END, home_score, away_score,
    n_history_home, n_history_away, {closing}
FROM predictions LEFT JOIN odds USING (match_id)
WHERE match_id IN (SELECT unnest(?::BIGINT[]))
"""


async def find_results(snapshot: Snapshot, match_ids: Sequence[int]) -> list[MatchResult]:
    """What the snapshot knows of these matches; those it does not have are left out."""
    return await snapshot.database.run(lambda cursor: _find(cursor, match_ids))


def _find(cursor: Connection, match_ids: Sequence[int]) -> list[MatchResult]:
    columns = {name for name, *_ in cursor.execute("DESCRIBE odds").fetchall()}
    query = _FIND.format(closing=_CLOSING if columns >= set(_CLOSING.split(", ")) else _NO_CLOSING)
    return [_result(row) for row in cursor.execute(query, [list(match_ids)]).fetchall()]


def _result(row: Row) -> MatchResult:
    match_id, kickoff, is_known, outcome, home, away, history_home, history_away, *closing = row
    prices = tuple(closing) if all(price is not None and price > 1 for price in closing) else None
    is_finished = outcome is not None
    return MatchResult(
        match_id=match_id,
        kickoff_utc=kickoff,
        kickoff_known=is_known,
        outcome=Outcome(outcome) if is_finished else None,
        home_score=home if is_finished else None,
        away_score=away if is_finished else None,
        closing=prices if is_finished else None,
        n_history_home=history_home if is_finished else None,
        n_history_away=history_away if is_finished else None,
    )
