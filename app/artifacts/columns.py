"""The columns of each artifact and the types that they may have; columns beyond these are allowed.

A column is found by its exact name. No other column may have that name in other letters: SQL knows no case.
Times may be seconds, milli-, micro- or nanoseconds in any zone; they are read to the microsecond.
"""

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

    def accepts(self, kind: pa.DataType) -> bool:
        """Whether a file may hold it as that Arrow type; where cells may be empty, an all-empty column has none."""
        return self.is_kind(kind) or (self.may_be_null and pa.types.is_null(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_instant(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.TimestampType) and kind.tz is not None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_flag_like(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind)) or _is_number(kind) or _is_text(kind)


ID = Column("int64", pa.types.is_int64)
TEXT = Column("string", _is_text)
TEXT_OR_NULL = Column("string", _is_text, may_be_null=True)
TEXT_IF_ANY = Column("string", _is_text, may_be_null=True, may_be_missing=True)
INSTANT = Column("timestamp with time zone", _is_instant)
FLOAT64 = Column("float64", pa.types.is_float64)
NUMBER_IF_ANY = Column("number", _is_number, may_be_null=True, may_be_missing=True)
INTEGER = Column("integer of any width", pa.types.is_integer)
INTEGER_OR_NULL = Column("integer of any width", pa.types.is_integer, may_be_null=True)
INTEGER_IF_ANY = Column("integer of any width", pa.types.is_integer, may_be_null=True, may_be_missing=True)
FLAG_IF_ANY = Column("bool", pa.types.is_boolean, may_be_missing=True)
# foreign files say 0 and 1, or true and false in words; what is neither counts as null
LIKE_FLAG_IF_ANY = Column("bool, number or string", _is_flag_like, may_be_null=True, may_be_missing=True)

PREDICTIONS_COLUMNS: Mapping[str, Column] = {
    "match_id": ID,
    "kickoff_utc": INSTANT,
    "has_time": LIKE_FLAG_IF_ANY,
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
    "n_history_home": INTEGER_IF_ANY,
    "n_history_away": INTEGER_IF_ANY,
    "no_odds_reason": TEXT_IF_ANY,
}
_OFFER_COLUMNS: Mapping[str, Column] = {
    "match_id": ID,
    "odds_home": FLOAT64,
    "odds_draw": FLOAT64,
    "odds_away": FLOAT64,
    "bookmaker": TEXT,
    "event_url": TEXT_OR_NULL,
    "captured_at": INSTANT,
}
ODDS_COLUMNS: Mapping[str, Column] = {
    **_OFFER_COLUMNS,
    **dict.fromkeys(("closing_home", "closing_draw", "closing_away"), NUMBER_IF_ANY),
    "closing_source": TEXT_IF_ANY,
}
PRICES_COLUMNS: Mapping[str, Column] = {
    **{name: kind for name, kind in _OFFER_COLUMNS.items() if name != "event_url"},
    "kind": TEXT,
    "url": TEXT_OR_NULL,
}
PRICE_KINDS = ("offer", "closing")
_RESULT = ("status", "home_score", "away_score", "outcome")
_NOT_IN_HISTORY = (*_RESULT, "no_odds_reason")
_KNOWN = {"known_at": INSTANT}
# rows of the history, by kind; `known_at` is the moment from which a row counts as known
HISTORY_COLUMNS: Mapping[str, Mapping[str, Column]] = {
    "predictions": {name: kind for name, kind in PREDICTIONS_COLUMNS.items() if name not in _NOT_IN_HISTORY} | _KNOWN,
    "odds": {**_OFFER_COLUMNS, "kind": TEXT, **_KNOWN},
    "prices": {**PRICES_COLUMNS, **_KNOWN},
    "results": {name: PREDICTIONS_COLUMNS[name] for name in ("match_id", *_RESULT)} | _KNOWN,
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
# a money table may lack these; empty cells are allowed
OPTIONAL_MONEY_COLUMNS: Mapping[str, pa.DataType] = {
    "n_clv": pa.int64(),
    **dict.fromkeys(("max_drawdown", "clv_pct", "clv_ci_low", "clv_ci_high"), pa.float64()),
}
