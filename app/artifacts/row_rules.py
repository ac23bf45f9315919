"""Rules that the rows of an artifact must keep; each finding is a stable code and a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.artifacts.columns import INSTANT, PRICE_KINDS, STATUSES, Column

Finding = tuple[str, str]
Flags = npt.NDArray[np.bool_]

SUM_TOLERANCE = 1e-6
MAX_SCORE = 999
# what RFC 3339 can write in any zone, some hours later or earlier too
FIRST_YEAR, LAST_YEAR = 2, 9998
_FIRST, _LAST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(LAST_YEAR, 12, 31, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def id_findings(table: pa.Table) -> Iterator[Finding]:
    """A match has one row."""
    ids = _array(table, "match_id")
    repeated = np.ones(len(ids), np.bool_)
    repeated[np.unique(ids, return_index=True)[1]] = False
    yield from _rows("duplicate-match", "match_id is repeated", repeated, table)


def null_findings(table: pa.Table, columns: Mapping[str, Column]) -> Iterator[Finding]:
    """Cells are empty only where they may be."""
    for name in table.column_names:
        if table[name].null_count and not columns[name].may_be_null:
            empty = np.asarray(table[name].is_null().to_numpy(), dtype=np.bool_)
            yield from _rows("null", f"{name} is empty", empty, table)


def range_findings(table: pa.Table, columns: Mapping[str, Column], latest: datetime) -> Iterator[Finding]:
    """Ids that a URL can name, times that can be written, and nothing known before it happened.

    `latest` bounds every time but kick-offs, which may lie ahead.
    """
    yield from _rows("bad-id", "a negative match_id", _array(table, "match_id") < 0, table)
    for name, column in columns.items():
        if column is not INSTANT or name not in table.column_names:
            continue
        unwritable = _unwritable_times(table, name)
        what = f"{name} outside the years {FIRST_YEAR} to {LAST_YEAR}"
        yield from _rows("bad-time", what, unwritable, table)
        if name != "kickoff_utc":
            ahead = ~unwritable & (_ticks(table, name) > _tick(latest, table, name))
            yield from _rows("future-time", f"{name} later than the artifacts", ahead, table)


def _unwritable_times(table: pa.Table, name: str) -> Flags:
    moments = _ticks(table, name)
    return np.asarray((moments < _tick(_FIRST, table, name)) | (moments > _tick(_LAST, table, name)), dtype=np.bool_)


def _ticks(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """Times as numbers of their unit since 1970; a missing one, which another rule names, as 0."""
    return np.asarray(table[name].cast(pa.int64()).fill_null(0).to_numpy(), dtype=np.int64)


def _tick(moment: datetime, table: pa.Table, name: str) -> int:
    per_second = _PER_SECOND[table.schema.field(name).type.unit]
    ticks = int((moment - _EPOCH).total_seconds()) * per_second
    return max(-(2**63) + 1, min(2**63 - 1, ticks))  # nanoseconds reach from 1677 to 2262


def stranger_findings(table: pa.Table, predictions: pa.Table | None) -> Iterator[Finding]:
    """Every match here has a prediction; says nothing when the predictions are unknown."""
    if predictions is None:
        return
    known = np.isin(_array(table, "match_id"), _array(predictions, "match_id"))
    yield from _rows("unknown-match", "no prediction for", ~known, table)


def prediction_findings(table: pa.Table) -> Iterator[Finding]:
    """Unique matches, sound probabilities, known statuses, results that agree with scores."""
    if not len(table):
        yield "empty", "there are no predictions"
        return
    yield from id_findings(table)
    yield from _probability_findings(table)
    yield from _rows("bad-status", "status is unknown", ~_is_in(table, "status", STATUSES), table)
    yield from _rows("bad-score", f"home_score or away_score outside 0 to {MAX_SCORE}", _bad_scores(table), table)
    yield from _rows("bad-outcome", "outcome disagrees with status or score", _contradictions(table), table)


def _probability_findings(table: pa.Table) -> Iterator[Finding]:
    probabilities = _matrix(table, ("proba_home", "proba_draw", "proba_away"))
    sound = np.all(np.isfinite(probabilities) & (probabilities >= 0) & (probabilities <= 1), axis=1)
    sums = np.asarray(np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE)
    yield from _rows("bad-probability", "proba_home, proba_draw or proba_away outside 0 to 1", ~sound, table)
    yield from _rows("bad-sum", "proba_home, proba_draw and proba_away do not sum to one", sound & ~sums, table)
    chosen = _array(table, "predicted_class")
    in_range = (chosen >= 0) & (chosen <= 2)
    picked = probabilities[np.arange(len(table)), np.where(in_range, chosen, 0)]
    wrong = ~in_range | (sound & (picked < probabilities.max(axis=1) - SUM_TOLERANCE))
    yield from _rows("bad-prediction", "predicted_class is not the most probable outcome", wrong, table)


def _bad_scores(table: pa.Table) -> Flags:
    scores = np.column_stack([_floats(table, name) for name in ("home_score", "away_score")])
    return np.asarray(((scores < 0) | (scores > MAX_SCORE)).any(axis=1), dtype=np.bool_)  # NaN, no score, is neither


def _contradictions(table: pa.Table) -> Flags:
    finished = _is_in(table, "status", ("finished",))
    home, away, outcome = (_floats(table, name) for name in ("home_score", "away_score", "outcome"))
    # home 0, draw 1, away 2; NaN scores give NaN, which equals nothing
    expected = 1 - np.sign(home - away)
    return np.asarray(np.where(finished, outcome != expected, ~np.isnan(outcome)), dtype=np.bool_)


def odds_findings(table: pa.Table) -> Iterator[Finding]:
    """Unique matches, prices above 1, links that a browser may follow."""
    yield from id_findings(table)
    yield from _price_findings(table, "event_url")


def prices_findings(table: pa.Table) -> Iterator[Finding]:
    """One row for a match, a bookmaker and a kind; kinds that are known; prices and links as odds have them."""
    kinds = _is_in(table, "kind", PRICE_KINDS)
    yield from _rows("bad-kind", f"kind is none of {', '.join(PRICE_KINDS)}", ~kinds, table)
    keys = ["match_id", "bookmaker", "kind"]
    counts = table.select(keys).group_by(keys).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1))
    if len(repeated):
        first = repeated.slice(0, 1).to_pylist()[0]
        what = f"{len(repeated)} prices of one bookmaker, match and kind are repeated, first match_id"
        yield "duplicate-price", f"{what} {first['match_id']} of {first['bookmaker']}"
    yield from _price_findings(table, "url")


def _price_findings(table: pa.Table, url: str) -> Iterator[Finding]:
    odds = _matrix(table, ("odds_home", "odds_draw", "odds_away"))
    yield from _rows(
        "bad-odds",
        "odds_home, odds_draw or odds_away not above 1",
        ~np.all(np.isfinite(odds) & (odds > 1), axis=1),
        table,
    )
    # anything but a web address could run as script in the match page
    urls = table[url].cast(pa.string())
    other = pc.fill_null(pc.invert(pc.match_substring_regex(urls, "^https?://")), fill_value=False)
    other = np.asarray(other.to_numpy(), dtype=np.bool_)
    yield from _rows("bad-url", f"{url} is not a web address", other, table)


_COUNTS = ("n_matches", "n_bets", "n_wins", "staked", "profit")


def money_findings(table: pa.Table, columns: Mapping[str, pa.DataType]) -> Iterator[Finding]:
    """Regions, times, counts and sums exist and make sense; ROI may be empty where bets are too few."""
    nulls = [name for name in columns if name in {*_COUNTS, "region", "settled_until"} and table[name].null_count]
    if nulls:
        yield "null", f"empty cells in {', '.join(nulls)}"
        return
    matches, bets, wins, staked, profit = (_array(table, name) for name in _COUNTS)
    wrong = (bets > matches) | (wins > bets) | (wins < 0) | ~np.isfinite(profit) | ~(staked >= 0) | np.isinf(staked)
    if "settled_until" in columns:
        wrong |= _unwritable_times(table, "settled_until")
    if wrong.any():
        what = "rows with impossible counts, sums or times"
        yield "bad-money", f"{int(wrong.sum())} {what}, first in line {_first(wrong) + 2}"


def _rows(code: str, what: str, wrong: Flags, table: pa.Table) -> Iterator[Finding]:
    if wrong.any():
        first = _first(wrong)
        match_id = table["match_id"][first].as_py()
        place = f"row {first + 1}" if match_id is None else f"match_id {match_id}"
        yield code, f"{what}: {int(wrong.sum())} rows, first {place}"


def _first(wrong: Flags) -> int:
    return int(np.flatnonzero(wrong)[0])


def _array(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return np.asarray(table[name].to_numpy())


def _floats(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _is_in(table: pa.Table, name: str, values: Sequence[str]) -> Flags:
    found = pc.is_in(table[name].cast(pa.string()), pa.array(values, pa.string()))
    return np.asarray(found.to_numpy(), dtype=np.bool_)


def _matrix(table: pa.Table, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    return np.column_stack([_array(table, name) for name in names])
