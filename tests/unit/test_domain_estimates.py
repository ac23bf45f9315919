import numpy as np
import pytest

from app.domain.statistics import difference, mean


def test_mean_and_interval_of_a_known_case() -> None:
    found = mean(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 1.959963984540054 * np.sqrt(5 / 3) / 2
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half))


@pytest.mark.parametrize("values", [[], [1.0]])
def test_one_value_says_nothing_of_its_uncertainty(values: list[float]) -> None:
    found = mean(np.array(values))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_the_interval_holds_the_truth_in_about_95_of_100_cases() -> None:
    rng = np.random.default_rng(0)
    found = [mean(rng.exponential(size=400)) for _ in range(1000)]
    assert 0.92 < np.mean([each.low <= 1 <= each.high for each in found]) < 0.97


def test_what_is_hard_for_both_cancels_in_a_paired_difference() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(size=200)
    ours, theirs = hardness + rng.normal(-0.1, 0.1, 200), hardness + rng.normal(0, 0.1, 200)
    paired = difference(ours, theirs)
    assert paired.high < 0
    assert paired.high - paired.low < (mean(ours).high - mean(ours).low) / 4
