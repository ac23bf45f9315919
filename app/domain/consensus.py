"""What model and bookmakers say together: a logarithmic opinion pool of probabilities, weighed by how sharp each was.

`market = softmax(sum(w_b * log fair_b) / sum(w_b))` over the books b that price a match, and
`consensus = softmax(model * log p + market * log market)`. The pool is externally Bayesian (Genest 1984, "A
Characterization Theorem for Externally Bayesian Groups"); the two exponents need not sum to one, so a pool of
forecasts that say the same thing, each too cautiously, may sharpen them (Satopaa et al. 2014, "Combining Multiple
Probability Predictions Using a Simple Logit Model"). What is not known of a match is left out: without prices the
consensus is the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from app.domain.outcomes import Floats
from app.domain.prices import Places

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST = 1e-12  # a probability of zero would outweigh all the others


@dataclass(frozen=True, slots=True)
class PoolWeights:
    """The weights for matches from `since` on, fitted on `n` matches that were over by then."""

    since: datetime
    known_at: datetime  # from when the weights could have been known
    n: int
    model: float = 0.0
    market: float = 1.0
    books: Mapping[str, float] = field(default_factory=dict)  # by bookmaker; one that is not here weighs 1

    def of_books(self, bookmakers: Sequence[str]) -> list[float]:
        """The weight of each bookmaker among the others."""
        return [self.books.get(bookmaker, 1.0) for bookmaker in bookmakers]


# before anything was fitted: the books as equals, and the model says nothing that they do not
UNFITTED = PoolWeights(datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), 0)


def weights_at(windows: Sequence[PoolWeights], moment: datetime) -> list[PoolWeights]:
    """The weights known at a moment, one for each beginning, in the order of time, and before them `UNFITTED`.

    Of two for the same beginning the one known later counts.
    """
    known = sorted((each for each in windows if each.known_at <= moment), key=lambda each: (each.since, each.known_at))
    return [UNFITTED, *{each.since: each for each in known}.values()]


def place_weights(windows: Sequence[PoolWeights], kickoff_us: Places) -> Places:
    """Which of the weights of `weights_at` counts for each kick-off, (n,), microseconds since 1970."""
    starts = [int((each.since - _EPOCH).total_seconds()) * 1_000_000 for each in windows]
    return np.maximum(np.searchsorted(np.array(starts), kickoff_us, side="right") - 1, 0).astype(np.int64)


def pool_market(fair: Floats, weight: Floats, match: Places, n_matches: int) -> Floats:
    """Pool the fair probabilities (n, 3) of books on the same matches, (n_matches, 3); NaN where there is none.

    `match` is the place of each row's match, `weight` (n,) the weight of its book; a row of NaN says nothing.
    """
    known = ~np.isnan(fair).any(axis=1) & (weight > 0)
    place, shares = match[known], weight[known]
    logs = np.log(np.maximum(fair[known], _LEAST))
    sums = np.column_stack([np.bincount(place, shares * column, minlength=n_matches) for column in logs.T])
    totals = np.bincount(place, shares, minlength=n_matches)
    means = np.divide(sums, totals[:, None], out=np.full((n_matches, 3), np.nan), where=totals[:, None] > 0)
    return softmax(means)


def pool(model: Floats, market: Floats, model_exponent: Floats, market_exponent: Floats) -> Floats:
    """The consensus of model and market, (n, 3) each, under the exponents of each match, (n,): see the module.

    Where the market is NaN it is the model, where the model is NaN the market.
    """
    logs = [np.log(np.maximum(each, _LEAST)) for each in (model, market)]
    both = softmax(model_exponent[:, None] * logs[0] + market_exponent[:, None] * logs[1])
    return np.where(np.isnan(market), model, np.where(np.isnan(model), market, both))


def softmax(logs: Floats) -> Floats:
    """Rows of logarithms as probabilities that sum to one."""
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float64)
