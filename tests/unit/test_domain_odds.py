import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.domain.odds import best_edge, edge, fair, implied_probabilities, is_value, overround
from app.domain.vocabulary import Devig

Floats = npt.NDArray[np.float64]

prices = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(1.01, 500))
methods = st.sampled_from(Devig)
LONG_SHOT = np.array([[1.5, 4.2, 7.5]])


@given(prices, methods)
def test_fair_probabilities_sum_to_one(odds: Floats, method: Devig) -> None:
    assert fair(odds, method).sum(axis=1) == pytest.approx(1.0, abs=1e-12)


@given(prices, methods)
def test_fair_probabilities_lie_between_zero_and_one(odds: Floats, method: Devig) -> None:
    found = fair(odds, method)
    assert ((found >= 0) & (found <= 1)).all()


@given(prices, methods)
def test_fair_probabilities_keep_the_order_of_the_prices(odds: Floats, method: Devig) -> None:
    for row, found in zip(odds, fair(odds, method), strict=True):
        by_price = found[np.argsort(-row)]
        assert (np.diff(by_price) >= -1e-12).all()


@given(prices)
def test_power_method_raises_every_implied_probability_to_one_exponent(odds: Floats) -> None:
    exponents = np.log(fair(odds)) / np.log(implied_probabilities(odds))
    assert exponents == pytest.approx(np.broadcast_to(exponents[:, :1], exponents.shape), rel=1e-6)


@given(prices)
def test_shin_probabilities_follow_from_one_share_of_insiders(odds: Floats) -> None:
    """Shin's model inverted: each price gives the same z back."""
    raw, found = implied_probabilities(odds), fair(odds, Devig.SHIN)
    total = raw.sum(axis=1, keepdims=True)
    with_margin = (total > 1.0001).ravel()
    # from pi = sqrt(total) * sqrt(z p + (1 - z) p**2)
    z = (raw**2 / total - found**2) / (found * (1 - found))
    spread = z.max(axis=1) - z.min(axis=1)
    assert (spread[with_margin] < 1e-6 + 1e-3 * np.abs(z[with_margin]).max(axis=1)).all()


def test_shin_prices_from_known_insiders_are_read_back() -> None:
    p, z = np.array([0.6, 0.25, 0.15]), 0.03
    shape = np.sqrt(z * p + (1 - z) * p**2)
    prices_ = 1 / (shape * shape.sum())
    assert fair(prices_[None, :], Devig.SHIN)[0] == pytest.approx(p, abs=1e-9)


def test_power_prices_from_a_known_exponent_are_read_back() -> None:
    p = np.array([0.6, 0.25, 0.15])
    assert fair((1 / p**0.9)[None, :])[0] == pytest.approx(p, abs=1e-12)


def test_power_takes_more_margin_from_the_long_shot_than_scaling_does() -> None:
    power, scaled = fair(LONG_SHOT)[0], fair(LONG_SHOT, Devig.MULTIPLICATIVE)[0]
    assert power[2] < scaled[2]
    assert power[0] > scaled[0]


@given(arrays(np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(0.01, 1)), methods)
def test_no_margin_changes_nothing(weights: Floats, method: Devig) -> None:
    chances = weights / weights.sum(axis=1, keepdims=True)
    assert fair(1 / chances, method) == pytest.approx(chances, abs=1e-9)


def test_additive_takes_the_same_from_each() -> None:
    odds = np.array([[2.0, 3.5, 4.0]])
    taken = implied_probabilities(odds) - fair(odds, Devig.ADDITIVE)
    assert taken[0] == pytest.approx([overround(odds)[0] / 3] * 3)


def test_additive_leaves_nothing_to_a_long_shot_whose_price_is_all_margin() -> None:
    odds = np.array([[1.02, 20.0, 400.0]])
    found = fair(odds, Devig.ADDITIVE)[0]
    raw = implied_probabilities(odds)[0]
    assert found[2] == 0
    # the other two bear the margin in equal parts
    assert raw[0] - found[0] == pytest.approx(raw[1] - found[1])


def test_odds_ratio_prices_from_a_known_ratio_are_read_back() -> None:
    p = np.array([0.6, 0.25, 0.15])
    shortened = 1.2 * p / (1 - p)
    assert fair((1 + 1 / shortened)[None, :], Devig.ODDS_RATIO)[0] == pytest.approx(p, abs=1e-12)


@given(prices)
def test_odds_ratio_moves_every_log_odds_by_one_step(odds: Floats) -> None:
    raw, found = implied_probabilities(odds), fair(odds, Devig.ODDS_RATIO)
    steps = np.log(raw / (1 - raw)) - np.log(found / (1 - found))
    assert steps == pytest.approx(np.broadcast_to(steps[:, :1], steps.shape), abs=1e-6)


def test_prices_that_allow_arbitrage_have_a_negative_overround() -> None:
    odds = np.array([[3.1, 3.3, 3.4]])
    assert overround(odds)[0] < 0
    for method in Devig:
        assert fair(odds, method).sum() == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, 1.0, 0.0, -3.0, np.inf])
def test_a_row_with_an_impossible_price_says_nothing(bad: float) -> None:
    odds = np.array([[2.0, 3.4, 4.0], [2.0, bad, 4.0]])
    for method in Devig:
        assert np.isnan(fair(odds, method)).tolist() == [[False] * 3, [True] * 3]
    edges = edge(np.full((2, 3), 1 / 3), odds)
    index, best = best_edge(edges)
    assert index.tolist() == [2, -1]
    assert is_value(best, np.zeros(2, dtype=np.bool_), 0.05).tolist() == [True, False]


@given(st.floats(1.0000001, 1e9), st.floats(1.0000001, 1e9), st.floats(1.0000001, 1e9), methods)
def test_absurd_prices_still_give_probabilities(home: float, draw: float, away: float, method: Devig) -> None:
    assert fair(np.array([[home, draw, away]]), method).sum() == pytest.approx(1.0, abs=1e-9)


def test_prices_at_which_rounding_never_settles_still_end() -> None:
    assert fair(np.array([[1.000001, 1e5, 11.0]])).sum() == pytest.approx(1.0)


def test_no_rows_give_no_rows() -> None:
    assert fair(np.empty((0, 3))).shape == (0, 3)
    assert best_edge(np.empty((0, 3)))[1].shape == (0,)


def test_edge_is_the_expected_profit_of_one_unit() -> None:
    assert edge(np.array([[0.5, 0.3, 0.2]]), np.array([[2.2, 3.0, 6.0]]))[0] == pytest.approx([0.1, -0.1, 0.2])


def test_value_begins_at_the_threshold() -> None:
    enough = np.zeros(3, dtype=np.bool_)
    assert is_value(np.array([0.049, 0.05, np.nan]), enough, 0.05).tolist() == [False, True, False]


def test_no_edge_is_value_without_history() -> None:
    too_little = np.array([True, False, True])
    assert is_value(np.array([0.06, 0.06, np.nan]), too_little, 0.05).tolist() == [False, True, False]
