import numpy as np
import pytest

from app.domain.drift import FeatureState, ReportState, Verdict, psi, psi_by_chance, psi_verdict, verdict


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, Verdict.NO_DATA),
        (float("nan"), Verdict.NO_DATA),
        (0.0, Verdict.STABLE),
        (0.0999, Verdict.STABLE),
        (0.1, Verdict.MODERATE),
        (0.3, Verdict.SEVERE),
        (1.0, Verdict.SEVERE),
    ],
)
def test_verdict_on_a_share_of_drifted_features(share: float | None, expected: Verdict) -> None:
    assert verdict(share) is expected


@pytest.mark.parametrize(
    ("index", "expected"), [(0.05, Verdict.STABLE), (0.2, Verdict.MODERATE), (0.3, Verdict.SEVERE)]
)
def test_verdict_on_one_feature(index: float, expected: Verdict) -> None:
    assert psi_verdict(index) is expected


def test_index_of_the_same_distribution_is_small_and_of_another_large() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=5000)
    assert psi(reference, rng.normal(size=5000)) < 0.02
    assert psi_verdict(psi(reference, rng.normal(1, 1, size=5000))) is Verdict.SEVERE


def test_missing_values_are_left_out() -> None:
    values = np.array([1.0, 2.0, 3.0, np.nan])
    assert psi(values, values[:3]) == 0.0


def test_nothing_to_compare_is_not_a_number() -> None:
    nothing = np.array([np.nan])
    assert np.isnan(psi(nothing, np.ones(3)))
    assert np.isnan(psi(np.ones(3), nothing))


def test_a_constant_that_changes_is_severe() -> None:
    assert psi_verdict(psi(np.zeros(100), np.ones(100))) is Verdict.SEVERE
    assert psi(np.zeros(100), np.zeros(100)) == 0.0


def test_what_chance_gives_does_not_count() -> None:
    assert verdict(0.35, 0.3) is Verdict.STABLE
    assert verdict(0.35, 0.04) is Verdict.SEVERE


@pytest.mark.parametrize(("n", "m", "bins"), [(200, 200, 10), (1000, 100, 10), (500, 500, 4)])
def test_chance_of_an_index_is_how_often_it_happens(n: int, m: int, bins: int) -> None:
    rng = np.random.default_rng(0)
    found = np.array([psi(rng.normal(size=n), rng.normal(size=m), bins) for _ in range(2000)])
    for index in (0.02, 0.05, 0.1):
        assert psi_by_chance(index, n, m, bins) == pytest.approx((found >= index).mean(), abs=0.06)


def test_one_bin_cannot_differ() -> None:
    assert psi_by_chance(0.1, 50, 50, 1) == 0.0


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        (Verdict, "no data", "no_data"),
        (ReportState, "no reference", "no_reference"),
        (ReportState, "no current matches", "no_current_matches"),
        (ReportState, "nothing comparable", "nothing_comparable"),
        (ReportState, "too few rows", "too_few_rows"),
        (FeatureState, "no values at all", "no_values_at_all"),
        (FeatureState, "no values in the reference", "no_values_in_the_reference"),
        (FeatureState, "no values now", "no_values_now"),
        (FeatureState, "too few values", "too_few_values"),
        (FeatureState, "could not be compared", "failed"),
    ],
)
def test_a_value_of_an_old_report_is_read_by_its_new_spelling(
    kind: type[Verdict | ReportState | FeatureState], old: str, new: str
) -> None:
    assert kind(old) is kind(new)
    assert kind(new).value == new


@pytest.mark.parametrize("kind", [Verdict, ReportState, FeatureState])
def test_a_value_that_was_never_one_is_refused(kind: type[Verdict | ReportState | FeatureState]) -> None:
    with pytest.raises(ValueError, match="not a valid"):
        kind("no idea")
