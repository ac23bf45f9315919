"""The pool of model and bookmakers, against the formula read aloud for one match."""

from datetime import UTC, datetime, timedelta
from math import exp, log

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.consensus import UNFITTED, PoolWeights, place_weights, pool, pool_market, weights_at

Floats = npt.NDArray[np.float64]
NOW = datetime(2026, 7, 1, tzinfo=UTC)
chances = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda raw: [each / sum(raw) for each in raw])


def softmax(logs: list[float]) -> list[float]:
    raised = [exp(each) for each in logs]
    return [each / sum(raised) for each in raised]


def weights(since: datetime, known_at: datetime | None = None, **values: float) -> PoolWeights:
    return PoolWeights(since, known_at or since, 0, **values)  # type: ignore[arg-type]  # only exponents are given


@given(st.lists(st.tuples(chances, st.floats(0.1, 9)), min_size=1, max_size=6))
def test_the_market_is_the_weighed_geometric_mean_of_its_books(books: list[tuple[list[float], float]]) -> None:
    fair, shares = np.array([book for book, _ in books]), np.array([share for _, share in books])
    found = pool_market(fair, shares, np.zeros(len(books), dtype=np.int64), 2)
    total = sum(share for _, share in books)
    expected = softmax([sum(share * log(book[side]) for book, share in books) / total for side in range(3)])
    assert found[0] == pytest.approx(expected)
    assert np.isnan(found[1]).all()  # nobody prices it


@given(chances, chances, st.floats(0, 2), st.floats(0, 2))
def test_the_consensus_multiplies_powers(model: list[float], market: list[float], a: float, b: float) -> None:
    found = pool(np.array([model]), np.array([market]), np.array([a]), np.array([b]))
    assert found[0] == pytest.approx(softmax([a * log(model[i]) + b * log(market[i]) for i in range(3)]))


def test_what_is_not_known_is_left_out() -> None:
    model, market = np.array([[0.5, 0.3, 0.2]] * 3), np.array([[0.4, 0.3, 0.3]] * 3)
    market[0], model[1] = np.nan, np.nan
    found = pool(model, market, np.full(3, 0.5), np.full(3, 0.5))
    assert found[0].tolist() == model[0].tolist()
    assert found[1].tolist() == market[1].tolist()
    rows = np.array([[0.5, 0.3, 0.2], [np.nan] * 3])
    assert pool_market(rows, np.ones(2), np.zeros(2, dtype=np.int64), 1)[0] == pytest.approx([0.5, 0.3, 0.2])


def test_a_book_without_weight_says_nothing() -> None:
    rows = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    found = pool_market(rows, np.array([1.0, 0.0]), np.zeros(2, dtype=np.int64), 1)
    assert found[0] == pytest.approx([0.5, 0.3, 0.2])


def test_weights_count_from_their_season_and_from_when_they_were_known() -> None:
    first, second = weights(NOW, model=0.1), weights(NOW + timedelta(days=365), model=0.2)
    again = weights(NOW, NOW + timedelta(days=30), model=0.3)
    everything = [second, again, first]
    assert weights_at(everything, NOW - timedelta(days=1)) == [UNFITTED]
    assert weights_at(everything, NOW) == [UNFITTED, first]
    assert weights_at(everything, NOW + timedelta(days=400)) == [UNFITTED, again, second]
    kickoffs = [NOW - timedelta(seconds=1), NOW, NOW + timedelta(days=364), NOW + timedelta(days=365)]
    microseconds = np.array([int(each.timestamp()) * 1_000_000 for each in kickoffs])
    assert place_weights([UNFITTED, again, second], microseconds).tolist() == [0, 1, 1, 2]


def test_a_book_that_was_not_weighed_counts_as_one() -> None:
    assert PoolWeights(NOW, NOW, 9, books={"A": 4.0}).of_books(["A", "B"]) == [4.0, 1.0]
