"""What each bookmaker offers on one match: the newest prices, which of them are sound, and how they moved.

Alone because the store has one module a data set.
"""

from datetime import datetime
from typing import Any

import numpy as np

from app.domain import prices
from app.domain.odds import fair, implied_probabilities, overround
from app.domain.outcomes import OUTCOMES, Flags, Floats
from app.store.database import Connection, Row
from app.store.snapshot import Snapshot

_MATCH = "SELECT kickoff_utc, status FROM cards WHERE match_id = $match_id"
_PRICES = """
SELECT bookmaker, kind, odds_home, odds_draw, odds_away, captured_at, url FROM prices WHERE match_id = $match_id
ORDER BY kind = 'closing', bookmaker
"""
# the first price of each bookmaker that is known, and how many there are
_KNOWN = """
SELECT bookmaker, arg_min([odds_home, odds_draw, odds_away], captured_at), count(*) FROM history_prices
WHERE match_id = $match_id AND known_at <= coalesce($until, 'infinity'::TIMESTAMPTZ) GROUP BY bookmaker
"""


async def find_bookmakers(snapshot: Snapshot, match_id: int, until: datetime | None) -> dict[str, Any] | None:
    """The prices of all bookmakers on a match, as known by a time (None: now); None when there is no such match."""
    seen_at = snapshot.manifest.built_at
    return await snapshot.database.run(lambda cursor: _find(cursor, match_id, until, seen_at))


def _find(cursor: Connection, match_id: int, until: datetime | None, seen_at: datetime) -> dict[str, Any] | None:
    match = cursor.execute(_MATCH, {"match_id": match_id}).fetchall()
    if not match:
        return None
    kickoff, status = match[0]
    rows = cursor.execute(_PRICES, {"match_id": match_id}).fetchall()
    known = cursor.execute(_KNOWN, {"match_id": match_id, "until": until}).fetchall()
    moved = {bookmaker: (np.array([first]), n) for bookmaker, first, n in known}
    offers = [row for row in rows if row[1] == "offer"]
    sides: dict[str, list[dict[str, Any]]] = {
        kind: _items([row for row in rows if row[1] == kind], kickoff, min(kickoff, seen_at), moved)
        for kind in ("offer", "closing")
    }
    return {
        "match_id": match_id,
        "kickoff_utc": kickoff,
        "status": status,
        "n_bookmakers": len({row[0] for row in offers} - prices.NOT_TAKEN),
        "items": [*sides["offer"], *sides["closing"]],
    }


def _items(
    rows: list[Row], kickoff: datetime, seen_at: datetime, moved: dict[str, tuple[Floats, int]]
) -> list[dict[str, Any]]:
    """Rows of one kind, each beside the others."""
    odds = np.array([row[2:5] for row in rows], dtype=np.float64).reshape(-1, 3)
    match = np.zeros(len(rows), dtype=np.int64)
    sound = prices.sound(odds, match, 1, np.array([row[0] == prices.MARKET_AVERAGE for row in rows], dtype=np.bool_))
    in_time: Flags = np.array([row[1] == "offer" and row[5] <= kickoff for row in rows], dtype=np.bool_)
    could_be_taken: Flags = in_time & np.array([row[0] not in prices.NOT_TAKEN for row in rows], dtype=np.bool_)
    _, best = prices.best(odds, match, 1, sound & could_be_taken)
    raw, chances, margins = implied_probabilities(odds), fair(odds), overround(odds)
    found = []
    for i, (bookmaker, kind, *three, captured_at, url) in enumerate(rows):
        first, n_known = moved.get(bookmaker, (odds[i : i + 1], 1))
        found.append(
            {
                "bookmaker": bookmaker,
                "kind": kind,
                "odds": dict(zip(OUTCOMES, three, strict=True)),
                "implied": dict(zip(OUTCOMES, raw[i].tolist(), strict=True)),
                "fair": dict(zip(OUTCOMES, chances[i].tolist(), strict=True)),
                "overround": float(margins[i]),
                "captured_at": captured_at,
                "age_s": max((seen_at - captured_at).total_seconds(), 0.0),
                "url": url,
                "is_sound": bool(sound[i]),
                "could_be_taken": bool(could_be_taken[i]),
                "best_for": [side for place, side in enumerate(OUTCOMES) if best[0, place] == i],
                "movement": dict(zip(OUTCOMES, (chances[i] - fair(first)[0]).tolist(), strict=True)),
                "n_known": n_known,
            }
        )
    return found
