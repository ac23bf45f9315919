import numpy as np
import pytest

from app.domain.drift import FeatureState, ReportState, Verdict, psi_by_chance, verdict
from app.domain.outcomes import Floats


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


def stability_index(reference: Floats, current: Floats, n_bins: int) -> float:
    """The population stability index `sum((c-r)*ln(c/r))` over quantile bins of the reference."""
    edges = np.quantile(reference, np.linspace(0, 1, n_bins + 1)[1:-1])
    r, c = (
        np.maximum(np.bincount(np.searchsorted(edges, values), minlength=n_bins) / len(values), 1e-4)
        for values in (reference, current)
    )
    return float(np.sum((c - r) * np.log(c / r)))


def test_what_chance_gives_does_not_count() -> None:
    assert verdict(0.35, 0.3) is Verdict.STABLE
    assert verdict(0.35, 0.04) is Verdict.SEVERE


@pytest.mark.parametrize(("n", "m", "bins"), [(200, 200, 10), (1000, 100, 10), (500, 500, 4)])
def test_chance_of_an_index_is_how_often_it_happens(n: int, m: int, bins: int) -> None:
    rng = np.random.default_rng(0)
    found = np.array([stability_index(rng.normal(size=n), rng.normal(size=m), bins) for _ in range(2000)])
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
