"""Results and closing prices of given matches.

Alone because the store has one module a data set.
"""

from collections.abc import Sequence

from app.domain.outcomes import Outcome
from app.domain.results import MatchResult
from app.store.database import Row
from app.store.snapshot import Snapshot

_FIND = """
SELECT match_id, kickoff_utc, has_time, CASE WHEN status = 'finished' THEN outcome END, home_score, away_score,
    n_history_home, n_history_away, closing_home, closing_draw, closing_away
FROM predictions LEFT JOIN odds USING (match_id)
WHERE match_id IN (SELECT unnest(?::BIGINT[]))
"""


async def find_results(snapshot: Snapshot, match_ids: Sequence[int]) -> list[MatchResult]:
    """What the snapshot knows of these matches; those it does not have are left out."""
    rows = await snapshot.database.fetch(_FIND, [list(match_ids)])
    return [_result(row) for row in rows]


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
