import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.staking import flat_stake, kelly, kelly_stake, settle


@given(st.floats(0, 1), st.floats(1.001, 1000))
def test_kelly_is_never_negative_nor_more_than_all(probability: float, odds: float) -> None:
    stake = kelly(np.array([probability * odds - 1]), np.array([odds]))[0]
    assert 0 <= stake <= 1 + 1e-9


@given(st.floats(0.01, 0.99), st.floats(1.05, 50))
def test_kelly_grows_the_logarithm_of_the_bankroll_fastest(probability: float, odds: float) -> None:
    best = float(kelly(np.array([probability * odds - 1]), np.array([odds]))[0])

    def growth(stake: float) -> float:
        return float(probability * np.log1p(stake * (odds - 1)) + (1 - probability) * np.log1p(-stake))

    for other in (best * 0.9, min(best * 1.1, 0.999), best + 0.01 if best < 0.98 else best):
        assert growth(best) >= growth(other) - 1e-12


@given(st.floats(-1, 5), st.floats(1.01, 100))
def test_fractional_kelly_stays_under_its_cap(edge: float, odds: float) -> None:
    stake = kelly_stake(np.array([edge]), np.array([odds]))[0]
    assert 0 <= stake <= 0.05


def test_a_quarter_of_kelly() -> None:
    assert kelly_stake(np.array([0.1]), np.array([3.0]))[0] == pytest.approx(0.0125)


def test_unknown_edge_is_an_unknown_stake() -> None:
    assert np.isnan(kelly_stake(np.array([np.nan]), np.array([2.0]))[0])


def test_a_bet_returns_its_odds_or_loses_its_stake() -> None:
    profit = settle(np.array([1.0, 2.0]), np.array([3.5, 3.5]), np.array([True, False]))
    assert profit.tolist() == [2.5, -2.0]


def test_flat_stakes_are_one_unit() -> None:
    assert flat_stake(np.array([0.1, 0.7])).tolist() == [1.0, 1.0]
