import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as reference_log_loss

from app.domain.scoring import (
    brier,
    calibration_noise_floor,
    expected_calibration_error,
    log_loss,
    reliability,
    rps,
    score,
    wilson,
)

Floats = npt.NDArray[np.float64]
THIRDS = np.full((3, 3), 1 / 3)
EACH_ONCE = np.array([0, 1, 2])


def forecasts(n: int, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Probabilities and outcomes drawn from them: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([4, 3, 3], n)
    outcomes = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return probabilities, np.minimum(outcomes, 2)


def test_scores_of_knowing_nothing() -> None:
    assert log_loss(THIRDS, EACH_ONCE) == pytest.approx(np.log(3))
    assert brier(THIRDS, EACH_ONCE) == pytest.approx(2 / 3)
    # (1/9 + 4/9)/2 for either end, 1/9 for the middle
    assert rps(THIRDS, EACH_ONCE) == pytest.approx((5 / 18 + 1 / 9 + 5 / 18) / 3)


def test_scores_of_knowing_everything() -> None:
    certain = np.eye(3)
    assert (log_loss(certain, EACH_ONCE), brier(certain, EACH_ONCE), rps(certain, EACH_ONCE)) == (0, 0, 0)


def test_a_certain_forecast_that_fails_costs_much_but_not_infinitely() -> None:
    assert log_loss(np.array([[1.0, 0.0, 0.0]]), np.array([2])) == pytest.approx(34.5, abs=0.1)


def test_ranked_score_forgives_a_near_miss() -> None:
    certain_home = np.array([[1.0, 0.0, 0.0]])
    assert rps(certain_home, np.array([1])) == 0.5
    assert rps(certain_home, np.array([2])) == 1.0


def test_log_loss_agrees_with_scikit_learn() -> None:
    probabilities, outcomes = forecasts(500)
    assert log_loss(probabilities, outcomes) == pytest.approx(reference_log_loss(outcomes, probabilities))


@given(st.integers(1, 50), st.integers(0, 1000))
def test_scores_stay_in_their_ranges(n: int, seed: int) -> None:
    found = score(*forecasts(n, seed))
    assert found.log_loss >= 0
    assert 0 <= found.brier <= 2
    assert 0 <= found.rps <= 1
    assert 0 <= found.ece <= 1


def test_scores_of_no_matches_are_not_numbers() -> None:
    found = score(np.empty((0, 3)), np.empty(0, dtype=np.int64))
    assert np.isnan([found.log_loss, found.brier, found.rps, found.ece, found.ece_floor]).all()


def test_a_calibrated_forecaster_has_a_small_error_and_an_overconfident_one_a_large() -> None:
    probabilities, outcomes = forecasts(20_000)
    sharper = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(probabilities, outcomes) < 0.01
    assert expected_calibration_error(sharper, outcomes) > 0.1


def test_bins_hold_every_forecast_once_and_certainty_is_in_the_last() -> None:
    found = reliability(np.array([0.0, 0.05, 0.5, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), n_bins=10)
    assert [(each.low, each.n) for each in found] == [(0.0, 2), (0.5, 1), (0.9, 1)]


@given(st.integers(1, 2000), st.data())
def test_wilson_interval_holds_the_frequency(n: int, data: st.DataObject) -> None:
    frequency = data.draw(st.integers(0, n)) / n
    low, high = wilson(frequency, n)
    assert 0 <= low <= frequency + 1e-12
    assert frequency - 1e-12 <= high <= 1


def test_wilson_interval_of_a_known_case() -> None:
    assert wilson(0.1, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)
    assert wilson(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "tolerance"), [(30, 0.12), (300, 0.06), (3000, 0.06)])
@pytest.mark.parametrize("n_bins", [3, 15])
def test_noise_floor_is_the_mean_error_of_perfect_forecasters(n: int, tolerance: float, n_bins: int) -> None:
    probabilities, _ = forecasts(n)
    rng = np.random.default_rng(1)
    errors = []
    for _ in range(300):
        outcomes = np.minimum((probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1), 2)
        errors.append(expected_calibration_error(probabilities, outcomes, n_bins))
    assert calibration_noise_floor(probabilities, n_bins) == pytest.approx(np.mean(errors), rel=tolerance)


def test_certain_forecasts_have_no_noise() -> None:
    assert calibration_noise_floor(np.eye(3)) == 0


def test_noise_floor_of_outcomes_that_share_a_bin() -> None:
    """One match, all three outcomes in one bin: exactly one happens, so the bin's count has no variance."""
    assert calibration_noise_floor(THIRDS[:1], n_bins=2) == pytest.approx(0, abs=1e-12)
