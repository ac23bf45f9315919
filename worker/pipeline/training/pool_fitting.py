"""Fit the weights of the consensus, season by season: on matches that were over when the season began, and no others.

Prices are offers from before kick-off; closing prices never teach what is then judged at pre-match prices. The weights
of the books come first, by what each adds to the market, then the exponents of model and market. Where matches are few
there is less to fit: below `_FEWEST` none, the market being the plain mean of the books; below `_FEWEST_FOR_BOOKS` the
two exponents; a book of few matches weighs what the others do.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from app.domain import consensus, prices
from app.domain.consensus import PoolWeights
from app.domain.odds import fair
from app.domain.outcomes import OUTCOMES, Floats, one_hot
from app.domain.prices import Places
from app.store import tables
from app.store.database import open_connection

_WINDOW = timedelta(days=3 * 365)  # bookmakers change; three seasons are 20,000 matches of the main leagues
_MATCH = timedelta(hours=2)
_FEWEST, _FEWEST_FOR_BOOKS = 1000, 5000
_FEWEST_OF_A_BOOK = 500
# belief that a book weighs what the others do; books agree so nearly that a little of it outweighs many matches
_BOOK_PRIOR = 0.1
# belief that the market says it all: without it the exponents cost 0.00008 nats a match of 2019/20 to 2025/26
_EXPONENT_PRIOR = 2000.0
_BOOK_STEPS, _EXPONENT_STEPS = 40, 12
_FIT = """
SELECT p.match_id, epoch_us(kickoff_utc) AS kickoff_us, outcome, NOT in_sample AS is_out_of_sample,
    proba_home, proba_draw, proba_away
FROM predictions p WHERE status = 'finished' AND outcome IS NOT NULL ORDER BY kickoff_utc, match_id
"""
_OFFERS = """
SELECT o.match_id, bookmaker, odds_home, odds_draw, odds_away
FROM prices o JOIN predictions USING (match_id)
WHERE kind = 'offer' AND captured_at <= kickoff_utc AND status = 'finished' AND outcome IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class PricedMatches:
    """Finished matches in the order of kick-off, (n,), and the sound offers on them, (m,), in the order of matches."""

    kickoff_us: Places
    outcome: Places
    model: Floats  # (n, 3); NaN where the model had seen the result
    match: Places
    book: Places  # of each offer, a place in `books`
    fair: Floats  # (m, 3)
    books: tuple[str, ...]

    def between(self, since: datetime, until: datetime) -> "PricedMatches":
        """The matches that began in [since, until)."""
        first, last = np.searchsorted(self.kickoff_us, [_us(since), _us(until)])
        start, end = np.searchsorted(self.match, [first, last])
        rows, offers = slice(first, last), slice(start, end)
        return PricedMatches(
            self.kickoff_us[rows],
            self.outcome[rows],
            self.model[rows],
            self.match[offers] - first,
            self.book[offers],
            self.fair[offers],
            self.books,
        )

    def market(self, weight: Floats) -> Floats:
        """The market's probabilities, (n, 3), when the books weigh that much, (len(books),)."""
        return consensus.pool_market(self.fair, weight[self.book], self.match, len(self.outcome))


def read_priced_matches(predictions: Path, offers: Path) -> PricedMatches:
    """Read the finished matches of a folder and the offers on them."""
    with closing(open_connection()) as connection:
        tables.parquet(connection, [predictions], tables.PREDICTIONS).create_view("predictions")
        tables.parquet(connection, [offers], tables.PRICES).create_view("prices")
        found = connection.execute(_FIT).fetchnumpy()
        rows = connection.execute(_OFFERS).fetchnumpy()
    n = len(found["match_id"])
    by_id = np.argsort(found["match_id"])
    match = by_id[np.searchsorted(found["match_id"], rows["match_id"], sorter=by_id)].astype(np.int64)
    order = np.argsort(match, kind="stable")
    match, names = match[order], np.asarray(rows["bookmaker"]).astype(np.str_)[order]
    odds = np.column_stack([rows[f"odds_{side}"] for side in OUTCOMES])[order]
    model = np.column_stack([found[f"proba_{side}"] for side in OUTCOMES])
    keep = prices.sound(odds, match, n, names == prices.MARKET_AVERAGE) & (names != prices.MARKET_BEST)
    books, book = np.unique(names[keep], return_inverse=True)
    return PricedMatches(
        kickoff_us=np.asarray(found["kickoff_us"], dtype=np.int64),
        outcome=np.asarray(found["outcome"], dtype=np.int64),
        model=np.where(np.asarray(found["is_out_of_sample"])[:, None], model, np.nan),
        match=match[keep],
        book=np.asarray(book, dtype=np.int64),
        fair=fair(odds[keep]),
        books=tuple(books.tolist()),
    )


def season_starts(matches: PricedMatches) -> list[datetime]:
    """The first of July of every year that has priced matches before it, up to the newest match."""
    if not len(matches.match):
        return []
    first, last = (
        datetime.fromtimestamp(int(us) / 1e6, UTC)
        for us in (matches.kickoff_us[matches.match[0]], matches.kickoff_us[-1])
    )
    starts = (datetime(year, 7, 1, tzinfo=UTC) for year in range(first.year, last.year + 1))
    return [start for start in starts if first < start <= last]


def fit_windows(matches: PricedMatches, starts: Sequence[datetime]) -> Iterator[PoolWeights]:
    """Yield the weights of each season, fitted on what was over when it began."""
    guess = np.zeros(len(matches.books))
    for start in starts:
        past = matches.between(start - _WINDOW, start - _MATCH)
        weights, guess = _fit(past, start, guess)
        yield weights


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def _fit(past: PricedMatches, start: datetime, guess: Floats) -> tuple[PoolWeights, Floats]:
    """The weights, and the logarithms of those of the books to begin the next fit with."""
    n = len(np.unique(past.match))
    if n < _FEWEST:
        return PoolWeights(start, start, n), guess
    logs = np.zeros(len(past.books))
    if n >= _FEWEST_FOR_BOOKS:
        logs = _fit_books(past, guess)
    model, market = _fit_exponents(past, past.market(np.exp(logs)))
    counts = np.bincount(past.book, minlength=len(logs))
    books = {past.books[i]: float(np.exp(logs[i])) for i in np.flatnonzero(counts >= _FEWEST_OF_A_BOOK)}
    return PoolWeights(start, start, n, model, market, books), logs


def _fit_books(past: PricedMatches, guess: Floats) -> Floats:
    """Logarithms of the books' weights with the smallest log-loss of the market, drawn towards equal ones."""
    counts = np.bincount(past.book, minlength=len(past.books))
    free = counts >= _FEWEST_OF_A_BOOK
    logs = np.log(np.maximum(past.fair, 1e-12))
    priced = np.unique(past.match)
    happened = one_hot(past.outcome[priced])
    place = np.searchsorted(priced, past.match)

    def loss(theta: Floats) -> tuple[float, Floats]:
        shares = np.exp(np.where(free, theta, 0.0))[past.book]
        totals = np.bincount(place, shares)
        means = np.column_stack([np.bincount(place, shares * column) for column in logs.T]) / totals[:, None]
        chances = consensus.softmax(means)
        lost = -np.log((chances * happened).sum(axis=1)).sum()
        slope = (chances - happened) / totals[:, None]
        by_offer = shares * np.einsum("ij,ij->i", slope[place], logs - means[place])
        gradient = np.where(free, np.bincount(past.book, by_offer, minlength=len(theta)), 0.0)
        return lost + _BOOK_PRIOR * theta @ theta / 2, gradient + _BOOK_PRIOR * theta

    found = minimize(loss, np.where(free, guess, 0.0), jac=True, method="L-BFGS-B", options={"maxiter": _BOOK_STEPS})
    return np.asarray(np.where(free, found.x, 0.0), dtype=np.float64)


def _fit_exponents(past: PricedMatches, market: Floats) -> tuple[float, float]:
    """The exponents of model and market, by Newton's method: (0, 1) where the model has hardly been tried."""
    known = ~np.isnan(market).any(axis=1) & ~np.isnan(past.model).any(axis=1)
    prior = np.array([0.0, 1.0])
    if known.sum() < _FEWEST:
        return 0.0, 1.0
    inputs = np.log(np.stack([past.model[known], market[known]], axis=2))  # (n, 3, 2)
    happened = one_hot(past.outcome[known])
    found = prior.copy()
    for _ in range(_EXPONENT_STEPS):
        chances = consensus.softmax(inputs @ found)
        mean = np.einsum("nk,nkj->nj", chances, inputs)
        gradient = (mean - np.einsum("nk,nkj->nj", happened, inputs)).sum(axis=0)
        curvature = np.einsum("nk,nki,nkj->ij", chances, inputs, inputs) - mean.T @ mean
        belief = _EXPONENT_PRIOR * np.eye(2)
        found = found - np.linalg.solve(curvature + belief, gradient + belief @ (found - prior))
    model, exponent = np.maximum(found, 0.0).tolist()
    return (model, exponent) if exponent else (0.0, 1.0)
