"""The columns that each artifact must have, and of which type; columns beyond these are allowed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

TypeTest = Callable[[pa.DataType], bool]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `kind` is the type in words, `is_kind` tests an Arrow type."""

    kind: str
    is_kind: TypeTest
    may_be_null: bool = False
    may_be_missing: bool = False


def _is_text(found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        return _is_text(found.value_type)
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def _is_instant(found: pa.DataType) -> bool:
    return isinstance(found, pa.TimestampType) and found.tz is not None


ID = Column("int64", pa.types.is_int64)
TEXT = Column("string", _is_text)
TEXT_OR_NULL = Column("string", _is_text, may_be_null=True)
INSTANT = Column("timestamp with time zone", _is_instant)
FLOAT64 = Column("float64", pa.types.is_float64)
INTEGER = Column("integer", pa.types.is_integer)
INTEGER_OR_NULL = Column("integer", pa.types.is_integer, may_be_null=True)
FLAG_IF_ANY = Column("bool", pa.types.is_boolean, may_be_missing=True)

PREDICTIONS_COLUMNS: Mapping[str, Column] = {
    "match_id": ID,
    "kickoff_utc": INSTANT,
    "region": TEXT,
    "tournament": TEXT,
    "season": TEXT,
    "home_team": TEXT,
    "away_team": TEXT,
    "status": TEXT,
    "home_score": INTEGER_OR_NULL,
    "away_score": INTEGER_OR_NULL,
    "outcome": INTEGER_OR_NULL,
    "proba_home": FLOAT64,
    "proba_draw": FLOAT64,
    "proba_away": FLOAT64,
    "predicted_class": INTEGER,
    "model_name": TEXT,
    "model_version": TEXT,
    "model_stage": TEXT,
    "model_run_id": TEXT,
    "computed_at": INSTANT,
    "in_sample": FLAG_IF_ANY,
}
ODDS_COLUMNS: Mapping[str, Column] = {
    "match_id": ID,
    "odds_home": FLOAT64,
    "odds_draw": FLOAT64,
    "odds_away": FLOAT64,
    "bookmaker": TEXT,
    "event_url": TEXT_OR_NULL,
    "captured_at": INSTANT,
}
_KNOWN = {"known_at": INSTANT}
_FIXTURE = ("match_id", "kickoff_utc", "region", "tournament", "season", "home_team", "away_team")
_RESULT = ("match_id", "status", "home_score", "away_score", "outcome")
# rows of the history, by kind; `known_at` is the moment from which a row counts as known
HISTORY_COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "predictions": {
        **{name: kind for name, kind in PREDICTIONS_COLUMNS.items() if name in _FIXTURE or name not in _RESULT},
        **_KNOWN,
    },
    "odds": {**ODDS_COLUMNS, "kind": TEXT, **_KNOWN},
    "results": {**{name: PREDICTIONS_COLUMNS[name] for name in _RESULT}, **_KNOWN},
}
STATUSES = ("upcoming", "live", "awaiting_result", "finished", "postponed", "cancelled", "abandoned", "awarded")

_UTC = pa.timestamp("us", tz="UTC")
MONEY_COLUMNS: Mapping[str, pa.DataType] = {
    "n_matches": pa.int64(),
    "n_bets": pa.int64(),
    "n_wins": pa.int64(),
    "hit_rate": pa.float64(),
    "staked": pa.float64(),
    "profit": pa.float64(),
    "roi_pct": pa.float64(),
    "roi_ci_low": pa.float64(),
    "roi_ci_high": pa.float64(),
}
REGION_MONEY_COLUMNS: Mapping[str, pa.DataType] = {"region": pa.string(), "settled_until": _UTC, **MONEY_COLUMNS}
