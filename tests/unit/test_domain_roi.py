import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.roi import Z_95, Totals, closing_line, interval, max_drawdown, shrink, summarise

Floats = npt.NDArray[np.float64]
NOTHING: Floats = np.array([])
NO_FLAGS = np.array([], dtype=bool)


def bets(n: int, seed: int = 0, odds: float = 2.5) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Flat bets at one price that win as often as it implies."""
    won = np.random.default_rng(seed).random(n) < 1 / odds
    return np.ones(n), np.where(won, odds - 1, -1.0), won


def test_roi_of_nothing_is_none() -> None:
    found = summarise(NOTHING, NOTHING, NO_FLAGS)
    assert (found.n_bets, found.staked, found.profit, found.max_drawdown) == (0, 0.0, 0.0, 0.0)
    assert found.roi_pct is found.roi_ci_low is found.roi_ci_high is found.hit_rate is None
    assert found.too_few


@given(st.integers(0, 100), st.integers(0, 100))
def test_roi_of_no_stake_is_none_however_few_bets_are_enough(n_bets: int, min_bets: int) -> None:
    """Bets of nothing, as Kelly stakes without an edge are, are as good as none."""
    found = summarise(np.zeros(n_bets), np.zeros(n_bets), np.zeros(n_bets, dtype=bool), min_bets)
    line = closing_line(np.full(n_bets, np.nan), min_bets)
    assert found.roi_pct is found.roi_ci_low is found.roi_ci_high is None
    assert line.clv_pct is line.clv_ci_low is line.clv_ci_high is None
    assert (line.n_clv, found.profit, found.max_drawdown) == (0, 0.0, 0.0)


@given(st.lists(st.floats(-1, 5), max_size=60), st.integers(0, 30))
def test_closing_line_value_is_the_mean_of_what_is_known_or_none(values: list[float], min_bets: int) -> None:
    found = closing_line(np.array([*values, np.nan]), min_bets)
    assert found.n_clv == len(values)
    if len(values) < max(min_bets, 2):
        assert found.clv_pct is None
    else:
        assert found.clv_pct == pytest.approx(100 * np.mean(values), abs=1e-9)
        assert found.clv_ci_low is not None
        assert found.clv_ci_low <= found.clv_pct + 1e-9


def test_too_few_bets_have_sums_and_no_roi() -> None:
    found = summarise(*bets(19))
    assert found.too_few
    assert found.roi_pct is None
    assert found.staked == 19
    assert found.hit_rate == found.n_wins / 19


def test_enough_bets_have_a_roi_inside_its_interval() -> None:
    found = summarise(*bets(20))
    assert not found.too_few
    assert found.roi_pct == pytest.approx(100 * found.profit / found.staked)
    assert found.roi_ci_low is not None
    assert found.roi_ci_high is not None
    assert found.roi_ci_low < found.roi_pct < found.roi_ci_high


def test_interval_of_flat_stakes_is_the_mean_and_its_standard_error() -> None:
    stake, profit, won = bets(500)
    found = summarise(stake, profit, won)
    half = Z_95 * profit.std(ddof=1) / np.sqrt(500)
    assert found.roi_ci_high == pytest.approx(100 * (profit.mean() + half))


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    """Kelly-like stakes of unequal size at a fair price: the true ROI is 0."""
    rng = np.random.default_rng(1)
    stake = rng.uniform(0.1, 1.0, (2000, 300))
    won = rng.random((2000, 300)) < 1 / 2.5
    profit = np.where(won, 1.5 * stake, -stake)
    inside = 0
    for one_stake, one_profit, one_won in zip(stake, profit, won, strict=True):
        found = interval(Totals.from_bets(one_stake, one_profit, one_won))
        inside += int(found.low[0] <= 0 <= found.high[0])
    assert 0.93 < inside / 2000 < 0.97


@given(st.lists(st.tuples(st.floats(0.01, 5), st.booleans()), min_size=2, max_size=30))
def test_running_totals_end_in_the_totals(rows: list[tuple[float, bool]]) -> None:
    stake, won = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    profit = np.where(won, stake * 1.5, -stake)
    last, whole = interval(Totals.running(stake, profit, won), 2), interval(Totals.from_bets(stake, profit, won), 2)
    assert last.roi_pct[-1] == pytest.approx(whole.roi_pct[0])
    assert last.high[-1] == pytest.approx(whole.high[0])


def test_equal_profits_have_an_interval_without_width() -> None:
    ones = np.ones(25)
    found = summarise(ones, ones * 0.3, ones.astype(bool))
    assert found.roi_ci_low == pytest.approx(30.0)
    assert found.roi_ci_high == pytest.approx(30.0)


def test_stakes_of_nothing_have_no_roi() -> None:
    assert summarise(np.zeros(30), np.zeros(30), np.zeros(30, dtype=bool)).roi_pct is None


def test_drawdown_is_the_deepest_fall_from_a_peak() -> None:
    assert max_drawdown(np.array([1.0, -1.0, -1.0, 2.0, -0.5])) == 2.0
    assert max_drawdown(np.array([-1.0, -1.0])) == 2.0
    assert max_drawdown(np.array([1.0, 1.0])) == 0.0


@given(st.floats(-100, 300), st.floats(20, 1e5), st.floats(-50, 50))
def test_shrunk_roi_lies_between_the_region_and_all_regions(roi: float, n_bets: float, overall: float) -> None:
    found = shrink(np.array([roi]), np.array([n_bets]), np.array([overall]))[0]
    assert min(roi, overall) - 1e-9 <= found <= max(roi, overall) + 1e-9


def test_shrinkage_fades_with_bets() -> None:
    found = shrink(np.array([20.0, 20.0]), np.array([20.0, 40_000.0]), np.array([-5.0, -5.0]))
    assert found == pytest.approx([-3.81, 19.75], abs=0.01)
