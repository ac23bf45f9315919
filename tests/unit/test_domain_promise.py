"""Promised against got: edges that are true, that are shuffled, and the arithmetic against statsmodels' formula."""

import numpy as np
import pytest

from app.domain.promise import BOUNDS, compare_promise


def bets(n: int, seed: int) -> tuple["np.ndarray[tuple[int], np.dtype[np.float64]]", ...]:
    """Edges, prices and profits of bets whose edges are true."""
    rng = np.random.default_rng(seed)
    price = rng.uniform(1.3, 8, n)
    edge = rng.normal(0, 0.08, n)
    won = rng.random(n) < np.clip((1 + edge) / price, 0, 1)
    return edge, price, np.where(won, price - 1, -1.0)


def test_true_edges_keep_their_promise() -> None:
    edge, _, profit = bets(200_000, 1)
    found = compare_promise(edge, profit, 0.05)
    assert found.slope_low is not None
    assert found.slope_high is not None
    assert found.slope_low < 1 < found.slope_high
    assert found.is_kept
    assert found.value_got == pytest.approx(found.value_promised, abs=0.03)
    assert sum(each.n for each in found.bins) == found.n == 200_000


def test_shuffled_results_have_no_slope() -> None:
    edge, _, profit = bets(200_000, 2)
    found = compare_promise(edge, np.random.default_rng(3).permutation(profit), 0.05)
    assert found.slope_low is not None
    assert found.slope_high is not None
    assert found.slope_low < 0 < found.slope_high < 1
    assert not found.is_kept


def test_slope_and_interval_are_those_of_least_squares_with_robust_errors() -> None:
    edge, _, profit = bets(500, 4)
    found = compare_promise(edge, profit, 0.05)
    design = np.column_stack([np.ones(500), edge])
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ profit
    residuals = profit - design @ beta
    covariance = 500 / 498 * inverse @ (design.T * residuals**2) @ design @ inverse
    assert found.slope == pytest.approx(beta[1])
    assert found.slope_high == pytest.approx(beta[1] + 1.959963984540054 * covariance[1, 1] ** 0.5)


def test_ranges_are_closed_below_and_open_above() -> None:
    edge = np.array([*BOUNDS, 9.0])
    found = compare_promise(edge, np.zeros(len(edge)), 0.05)
    assert [(each.low, each.high, each.n) for each in found.bins][-1] == (BOUNDS[-1], None, 2)
    assert [each.low for each in found.bins] == list(BOUNDS)
    assert found.n_value == 4


def test_few_bets_promise_nothing() -> None:
    nothing = compare_promise(np.empty(0), np.empty(0), 0.05)
    assert (nothing.n, nothing.slope, nothing.bins, nothing.n_value, nothing.value_got) == (0, None, (), 0, None)
    one = compare_promise(np.array([0.1]), np.array([-1.0]), 0.05)
    assert (one.slope, one.slope_low, one.bins[0].got_low, one.bins[0].got, one.is_kept) == (
        None,
        None,
        None,
        -1.0,
        True,
    )
    same = compare_promise(np.full(5, 0.1), np.zeros(5), 0.5)
    assert (same.slope, same.n_value) == (None, 0)
    assert same.bins[0].holds is False  # five bets that all got nothing: an interval of no width


def test_one_bet_has_no_interval_and_breaks_no_promise() -> None:
    found = compare_promise(np.array([0.03]), np.array([-1.0]), 0.05)
    (only,) = found.bins
    assert (only.n, only.got_low, only.got_high) == (1, None, None)
    assert only.holds
    assert (found.slope, found.n_value, found.value_got) == (None, 0, None)
    assert found.is_kept
