import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.curve import CurveBets, curve
from app.domain.roi import max_drawdown


def bets(profits: list[float], days: list[int] | None = None, edge: float = 0.1, price: float = 2.0) -> CurveBets:
    n = len(profits)
    day = np.array(days if days is not None else range(n), dtype=np.int64)
    return CurveBets(day, np.ones(n), np.array(profits, dtype=np.float64), np.full(n, price), np.full(n, edge))


def test_a_point_is_the_end_of_its_day() -> None:
    found = curve(bets([1, -1, 1, 1], [5, 5, 7, 7]))
    assert found.day.tolist() == [5, 7]
    assert found.n_bets.tolist() == [2, 4]
    assert found.profit.tolist() == [0, 2]
    assert found.expected.tolist() == pytest.approx([0.2, 0.4])


def test_a_fall_inside_a_day_is_seen() -> None:
    assert curve(bets([3, -1, -1, 2], [1, 2, 2, 2])).drawdown.tolist() == [0, 2]


def test_luck_explains_two_deviations_of_the_sum() -> None:
    """100 bets at 2.00 with p = 0.5: each has the variance 1, their sum the deviation 10."""
    found = curve(bets([0.0] * 100, [0] * 100, edge=0.0))
    assert found.spread.tolist() == pytest.approx([19.59963984540054])


def test_no_bets_make_no_curve() -> None:
    assert [len(getattr(curve(bets([])), name)) for name in ("day", "profit", "drawdown")] == [0, 0, 0]


@given(st.lists(st.floats(-1, 5), min_size=1, max_size=200), st.integers(1, 12))
def test_thinning_keeps_the_end_and_the_deepest_fall(profits: list[float], most: int) -> None:
    found = curve(bets(profits), max_points=most)
    assert len(found.day) <= most
    assert found.n_bets[-1] == len(profits)
    assert found.profit[-1] == pytest.approx(sum(profits), abs=1e-9)
    assert found.drawdown.max() == pytest.approx(max_drawdown(np.array(profits)))
