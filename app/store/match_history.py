"""Odds and predictions of one match as they came to be known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson

from app.domain.odds import fair, implied_probabilities, overround
from app.store import predictions
from app.store.database import Connection, Row
from app.store.fields import struct
from app.store.row_files import RowFile, RowSource, row_source
from app.store.snapshot import Snapshot

_SIDES = ("home", "draw", "away")
_MATCH = "SELECT kickoff_utc, status, outcome FROM cards WHERE match_id = $match_id"
_QUOTE = ("kind", "odds_home", "odds_draw", "odds_away", "bookmaker", "captured_at", "known_at")
_PREDICTION = (
    *("proba_home", "proba_draw", "proba_away", "model_name", "model_version", "model_stage", "model_run_id"),
    *("in_sample", "computed_at", "known_at"),
)
_TIMES = frozenset({"captured_at", "computed_at", "known_at"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# oldest first, as places in a row; both readers below sort by it
_ODDS_ORDER = (5, 6, 4)
_PREDICTIONS_ORDER = (9, 8)


def _source(kind: str, names: tuple[str, ...]) -> RowSource:
    """Rows of the history as they are, for a file; times as whole microseconds."""
    values = struct(**{name: f"epoch_us({name})" if name in _TIMES else name for name in names})
    return row_source(f"history_{kind} WHERE known_at <= 'infinity'::TIMESTAMPTZ", **{f"history_{kind}": values})


ROW_SOURCES = (_source("odds", _QUOTE), _source("predictions", _PREDICTION))


async def find_history(snapshot: Snapshot, match_id: int, until: datetime | None = None) -> dict[str, Any] | None:
    """What was known of a match by a time (None: now), oldest first; None when there is no such match."""
    files = [snapshot.row_file(name) for name in (predictions.ROWS, "history_odds", "history_predictions")]
    if until is None and all(files):
        return _read(match_id, *filter(None, files))
    return await snapshot.database.run(lambda cursor: _find(cursor, match_id, until))


def _find(cursor: Connection, match_id: int, until: datetime | None) -> dict[str, Any] | None:
    match = cursor.execute(_MATCH, {"match_id": match_id}).fetchall()
    if not match:
        return None
    bound = {"match_id": match_id, "until": until}
    odds = cursor.execute(_select("odds", _QUOTE, _ODDS_ORDER), bound).fetchall()
    made = cursor.execute(_select("predictions", _PREDICTION, _PREDICTIONS_ORDER), bound).fetchall()
    return _history(match_id, match[0], odds, made)


def _select(kind: str, names: tuple[str, ...], order: tuple[int, ...]) -> str:
    return (
        f"SELECT {', '.join(names)} FROM history_{kind} "  # noqa: S608
        "WHERE match_id = $match_id AND known_at <= coalesce($until, 'infinity'::TIMESTAMPTZ) "
        f"ORDER BY {', '.join(names[place] for place in order)}"
    )


def _read(match_id: int, matches: RowFile, odds: RowFile, made: RowFile) -> dict[str, Any] | None:
    """The same out of the row files."""
    match = matches.find(match_id)
    if match is None:
        return None
    found = orjson.loads(match)
    facts = (datetime.fromisoformat(found["kickoff_utc"]), found["status"], found["outcome"])
    return _history(match_id, facts, _past(odds, match_id, _ODDS_ORDER), _past(made, match_id, _PREDICTIONS_ORDER))


def _past(file: RowFile, match_id: int, order: tuple[int, ...]) -> list[Row]:
    rows = [
        tuple(
            _EPOCH + timedelta(microseconds=value) if name in _TIMES and value is not None else value
            for name, value in orjson.loads(row).items()
        )
        for row in file.find_all(match_id)
    ]
    return sorted(rows, key=lambda row: [(row[place] is None, row[place]) for place in order])


def _history(match_id: int, facts: Row, odds: list[Row], made: list[Row]) -> dict[str, Any]:
    kickoff, status, outcome = facts
    return {
        "match_id": match_id,
        "kickoff_utc": kickoff,
        "status": status,
        "outcome": outcome,
        "odds": _odds(odds),
        "predictions": [_prediction(row) for row in made],
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
