"""The prices of all bookmakers on each match: the market's probabilities, the consensus, and the best sound price.

Alone because cards, earlier times and the pipeline's settled bets all read prices by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from app.domain import consensus, prices
from app.domain.consensus import PoolWeights
from app.domain.odds import fair
from app.domain.outcomes import OUTCOMES, Flags, Floats
from app.domain.prices import Places
from app.store.database import Connection

# a price that came when the match was on could not be taken
_OFFERS = """
SELECT o.match_id, bookmaker, odds_home, odds_draw, odds_away
FROM prices o JOIN (SELECT match_id, kickoff_utc FROM predictions) USING (match_id)
WHERE kind = 'offer' AND captured_at <= kickoff_utc
"""
_CHUNK = 8192  # rows: what the roots of the margin need stays in the processor's cache, twice as fast


@dataclass(frozen=True, slots=True)
class Market:
    """What the bookmakers say of n matches; NaN and None where no one says anything."""

    probabilities: Floats  # (n, 3), without the margin, pooled by the weights of their season
    best_odds: Floats  # (n, 3), of the sound prices that could be taken
    best_bookmaker: "tuple[pa.Array[Any], ...]"  # whose they are, (n,) for each outcome
    middle: Floats  # (n, 3), what a price is compared with
    weights: Places  # (n,), which of the weights counts for each match
    model_exponent: Floats  # (n,)
    market_exponent: Floats

    def pool(self, model: Floats) -> Floats:
        """The consensus of the market with the model's probabilities, (n, 3)."""
        return consensus.pool(model, self.probabilities, self.model_exponent, self.market_exponent)


def read_market(connection: Connection, match_id: Places, kickoff_us: Places, weights: Sequence[PoolWeights]) -> Market:
    """Read the relation `prices` for these matches, (n,), under the weights of `consensus.weights_at`."""
    n, window = len(match_id), consensus.place_weights(weights, kickoff_us)
    found = connection.sql(_OFFERS).to_arrow_table()
    by_id = np.argsort(match_id)
    place = by_id[np.searchsorted(match_id, found["match_id"].to_numpy(), sorter=by_id)].astype(np.int64)
    order = np.argsort(place, kind="stable")
    match = place[order]
    names, code = encode_names(found["bookmaker"])
    odds = np.column_stack([found[f"odds_{side}"].to_numpy() for side in OUTCOMES])[order]
    book = code[order]
    middle = prices.middle(odds, match, n, _is_one_of(names, {prices.MARKET_AVERAGE})[book])
    sound = prices.stands_with(odds, middle[match])
    best_odds, rows = prices.best(odds, match, n, sound & ~_is_one_of(names, prices.NOT_TAKEN)[book])
    shares = np.array([each.of_books(names) for each in weights]).reshape(len(weights), len(names))
    speaks = sound & ~_is_one_of(names, {prices.MARKET_BEST})[book]
    told = pa.array(names, pa.string())
    return Market(
        probabilities=consensus.pool_market(
            _fair(odds[speaks]), shares[window[match[speaks]], book[speaks]], match[speaks], n
        ),
        best_odds=best_odds,
        best_bookmaker=tuple(told.take(pa.array(_book_of(rows[:, side], book), from_pandas=True)) for side in range(3)),
        middle=middle,
        weights=window,
        model_exponent=np.array([each.model for each in weights])[window],
        market_exponent=np.array([each.market for each in weights])[window],
    )


def encode_names(names: "pa.ChunkedArray[Any]") -> tuple[list[str], Places]:
    """Return the names that are there and the place of each row's among them."""
    encoded = names.combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_one_of(names: Sequence[str], chosen: "frozenset[str] | set[str]") -> Flags:
    return np.array([name in chosen for name in names], dtype=np.bool_)


def _book_of(rows: Places, book: Places) -> "npt.NDArray[Any]":
    """The book of each row as a masked number: no row has none."""
    return np.ma.masked_array(book[np.maximum(rows, 0)] if len(book) else np.zeros(len(rows), np.int64), rows < 0)


def _fair(odds: Floats) -> Floats:
    parts = [fair(odds[start : start + _CHUNK]) for start in range(0, len(odds), _CHUNK)]
    return np.concatenate(parts) if parts else odds
