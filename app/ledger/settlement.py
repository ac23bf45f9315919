"""Settles ledger rows by the results of a snapshot; the rows themselves are never touched."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import asyncpg

from app.domain.results import MatchResult
from app.ledger.writer import LOCK

PORTION = 500  # matches at a time
_LOCK_PART = 100  # of the ledger's advisory locks; the chains have the small numbers

_MATCHES = "SELECT DISTINCT match_id FROM prediction_ledger WHERE match_id > $1 ORDER BY match_id LIMIT $2"

# A row is settled when it was not or when something is different now. Older artifacts never overrule newer ones: a
# process that opens them late would take a correction back.
_SETTLE = """
INSERT INTO prediction_settlements
SELECT ledger.id, coalesce(last.revision, 0) + 1, now(), result.outcome, result.home_score, result.away_score,
    result.kickoff_utc, result.decided_from, result.closing_home, result.closing_draw, result.closing_away, $1, $2,
    result.n_history_home, result.n_history_away
FROM unnest(
    $3::bigint[], $4::smallint[], $5::smallint[], $6::smallint[], $7::timestamptz[], $8::timestamptz[],
    $9::float8[], $10::float8[], $11::float8[], $12::integer[], $13::integer[]
) AS result (
    match_id, outcome, home_score, away_score, kickoff_utc, decided_from, closing_home, closing_draw, closing_away,
    n_history_home, n_history_away
)
JOIN prediction_ledger ledger USING (match_id)
LEFT JOIN LATERAL (
    SELECT * FROM prediction_settlements WHERE ledger_id = ledger.id ORDER BY revision DESC LIMIT 1
) last ON true
WHERE CASE WHEN last.ledger_id IS NULL THEN result.outcome IS NOT NULL
    ELSE last.snapshot_built_at <= $2 AND (
        result.outcome, result.home_score, result.away_score, result.kickoff_utc, result.decided_from,
        result.closing_home, result.closing_draw, result.closing_away, result.n_history_home, result.n_history_away
    ) IS DISTINCT FROM (
        last.outcome, last.home_score, last.away_score, last.kickoff_utc, last.decided_from,
        last.closing_home, last.closing_draw, last.closing_away, last.n_history_home, last.n_history_away
    ) END
"""


async def predicted_matches(pool: asyncpg.Pool) -> AsyncIterator[list[int]]:
    """The ids of all matches in the ledger, a portion at a time."""
    last = -1
    while rows := await pool.fetch(_MATCHES, last, PORTION):
        match_ids = [match_id for (match_id,) in rows]
        yield match_ids
        last = match_ids[-1]


async def settle(pool: asyncpg.Pool, results: Sequence[MatchResult], snapshot_id: str, built_at: datetime) -> int:
    """Settle the rows of these matches; the number of settlements that were new."""
    async with pool.acquire() as connection, connection.transaction():
        # one process at a time: each sees what the others have settled
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, _LOCK_PART)
        status = await connection.execute(_SETTLE, snapshot_id, built_at, *_columns(results))
    return int(status.rpartition(" ")[2])  # INSERT 0 n


def _columns(results: Sequence[MatchResult]) -> tuple[list[object], ...]:
    rows = [
        (
            result.match_id,
            None if result.outcome is None else int(result.outcome),
            result.home_score,
            result.away_score,
            result.kickoff_utc,
            result.decided_from,
            *(result.closing or (None, None, None)),
            result.n_history_home,
            result.n_history_away,
        )
        for result in results
    ]
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 11
