"""Rules that the rows of an artifact must keep; each finding is a stable code and a sentence."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from app.artifacts.columns import STATUSES

Finding = tuple[str, str]
Flags = npt.NDArray[np.bool_]

SUM_TOLERANCE = 1e-6


def id_findings(table: pa.Table) -> Iterator[Finding]:
    """A match has one row."""
    doubled = len(table) - len(np.unique(_array(table, "match_id")))
    if doubled:
        yield "duplicate-match", f"{doubled} rows repeat a match_id"


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
    yield from _rows("bad-status", "unknown status", ~_is_in(table, "status", STATUSES), table)
    yield from _rows("bad-outcome", "result and status or score disagree", _contradictions(table), table)


def _probability_findings(table: pa.Table) -> Iterator[Finding]:
    probabilities = _matrix(table, ("proba_home", "proba_draw", "proba_away"))
    sound = np.all(np.isfinite(probabilities) & (probabilities >= 0) & (probabilities <= 1), axis=1)
    sums = np.asarray(np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE)
    yield from _rows("bad-probability", "a probability outside 0 to 1", ~sound, table)
    yield from _rows("bad-sum", "probabilities that do not sum to one", sound & ~sums, table)
    chosen = _array(table, "predicted_class")
    in_range = (chosen >= 0) & (chosen <= 2)
    picked = probabilities[np.arange(len(table)), np.where(in_range, chosen, 0)]
    wrong = ~in_range | (sound & (picked < probabilities.max(axis=1) - SUM_TOLERANCE))
    yield from _rows("bad-prediction", "predicted_class is not the most probable outcome", wrong, table)


def _contradictions(table: pa.Table) -> Flags:
    finished = _is_in(table, "status", ("finished",))
    home, away, outcome = (_floats(table, name) for name in ("home_score", "away_score", "outcome"))
    # home 0, draw 1, away 2; NaN scores give NaN, which equals nothing
    expected = 1 - np.sign(home - away)
    return np.asarray(np.where(finished, outcome != expected, ~np.isnan(outcome)), dtype=np.bool_)


def odds_findings(table: pa.Table) -> Iterator[Finding]:
    """Unique matches, prices above 1, links that a browser may follow."""
    yield from id_findings(table)
    odds = _matrix(table, ("odds_home", "odds_draw", "odds_away"))
    yield from _rows("bad-odds", "odds not above 1", ~np.all(np.isfinite(odds) & (odds > 1), axis=1), table)
    # anything but a web address could run as script in the match page
    urls = table["event_url"].cast(pa.string())
    other = pc.fill_null(pc.invert(pc.match_substring_regex(urls, "^https?://")), fill_value=False)
    other = np.asarray(other.to_numpy(), dtype=np.bool_)
    yield from _rows("bad-url", "event_url is not a web address", other, table)


def money_findings(table: pa.Table) -> Iterator[Finding]:
    """Counts and sums exist and make sense; ROI may be empty where bets are too few."""
    needed = ("n_matches", "n_bets", "n_wins", "staked", "profit")
    nulls = [name for name in needed if table[name].null_count]
    if nulls:
        yield "null", f"empty cells in {', '.join(nulls)}"
        return
    matches, bets, wins, staked, profit = (_array(table, name) for name in needed)
    wrong = (bets > matches) | (wins > bets) | (wins < 0) | ~np.isfinite(profit) | ~(staked >= 0) | np.isinf(staked)
    if wrong.any():
        yield "bad-money", f"{int(wrong.sum())} rows with impossible counts or sums, first in line {_first(wrong) + 2}"


def _rows(code: str, what: str, wrong: Flags, table: pa.Table) -> Iterator[Finding]:
    if wrong.any():
        yield code, f"{what}: {int(wrong.sum())} rows, first match_id {table['match_id'][_first(wrong)].as_py()}"


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
