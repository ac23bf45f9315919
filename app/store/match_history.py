"""Odds and predictions of one match as they came to be known."""

from datetime import datetime
from typing import Any

import numpy as np

from app.domain.odds import fair, implied_probabilities, overround
from app.store.database import Connection, Row
from app.store.snapshot import Snapshot

_SIDES = ("home", "draw", "away")
_MATCH = "SELECT kickoff_utc, status, outcome FROM cards WHERE match_id = $match_id"
_ODDS = """
SELECT kind, odds_home, odds_draw, odds_away, bookmaker, captured_at, known_at FROM history_odds
WHERE match_id = $match_id AND known_at <= coalesce($until, 'infinity'::TIMESTAMPTZ)
ORDER BY captured_at, known_at, bookmaker
"""
_PREDICTIONS = """
SELECT proba_home, proba_draw, proba_away, model_name, model_version, model_stage, model_run_id, in_sample, computed_at,
    known_at
FROM history_predictions
WHERE match_id = $match_id AND known_at <= coalesce($until, 'infinity'::TIMESTAMPTZ)
ORDER BY known_at, computed_at
"""


async def find_history(snapshot: Snapshot, match_id: int, until: datetime | None = None) -> dict[str, Any] | None:
    """What was known of a match by a time (None: now), oldest first; None when there is no such match."""
    return await snapshot.database.run(lambda cursor: _find(cursor, match_id, until))


def _find(cursor: Connection, match_id: int, until: datetime | None) -> dict[str, Any] | None:
    match = cursor.execute(_MATCH, {"match_id": match_id}).fetchall()
    if not match:
        return None
    bound = {"match_id": match_id, "until": until}
    kickoff, status, outcome = match[0]
    return {
        "match_id": match_id,
        "kickoff_utc": kickoff,
        "status": status,
        "outcome": outcome,
        "odds": _odds(cursor.execute(_ODDS, bound).fetchall()),
        "predictions": [_prediction(row) for row in cursor.execute(_PREDICTIONS, bound).fetchall()],
    }


def _odds(rows: list[Row]) -> list[dict[str, Any]]:
    prices = np.array([row[1:4] for row in rows], dtype=np.float64).reshape(-1, len(_SIDES))
    margins, raw, chances = overround(prices).tolist(), implied_probabilities(prices).tolist(), fair(prices).tolist()
    return [
        {
            "kind": kind,
            "odds": dict(zip(_SIDES, three, strict=True)),
            "implied": dict(zip(_SIDES, raw[i], strict=True)),
            "fair": dict(zip(_SIDES, chances[i], strict=True)),
            "overround": margins[i],
            "bookmaker": bookmaker,
            "captured_at": captured_at,
            "known_at": known_at,
        }
        for i, (kind, *three, bookmaker, captured_at, known_at) in enumerate(rows)
    ]


def _prediction(row: Row) -> dict[str, Any]:
    *chances, name, version, stage, run_id, in_sample, computed_at, known_at = row
    return {
        "probabilities": dict(zip(_SIDES, chances, strict=True)),
        "model": {"name": name, "version": version, "stage": stage, "run_id": run_id},
        "in_sample": in_sample,
        "computed_at": computed_at,
        "known_at": known_at,
    }
