"""Compares columns by Evidently, and names the state of those that it cannot compare before it falls over them.

Evidently takes seconds to import and hundreds of megabytes, so it is imported inside the functions that need it, in a
process of its own.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from app.artifacts.contract import DriftFeature
from app.domain.drift import PSI_MODERATE, FeatureState, psi_by_chance

if TYPE_CHECKING:
    import pandas as pd

METHOD = "psi"  # named, because Evidently picks another by itself for other sample sizes
LEAST_VALUES = 30  # with fewer known values a distribution is not worth comparing
_CATEGORIES = 20  # up to so many different values each is a bin for Evidently; above, it takes Sturges' number of bins


def compare(
    reference: "pd.DataFrame", current: "pd.DataFrame", trained_on: Sequence[str] | None = None
) -> list[DriftFeature]:
    """Every column of both, those that drifted most first; `trained_on` tells new columns from old ones."""
    expected = list(reference.columns) if trained_on is None else list(trained_on)
    names = [*expected, *[name for name in current.columns if name not in set(expected)]]
    states = {name: _state(name, reference, current, set(expected)) for name in names}
    to_compare = [name for name in names if states[name] is FeatureState.COMPARED]
    found = {feature.feature: feature for feature in _compared(reference, current, to_compare)}
    features = [found.get(name) or _uncompared(name, states[name], reference, current) for name in names]
    return sorted(features, key=lambda feature: -1.0 if feature.score is None else feature.score, reverse=True)


def share_by_chance(features: Iterable[DriftFeature], reference: "pd.DataFrame", current: "pd.DataFrame") -> float:
    """Share of the compared features that would be called drifted if nothing had changed, by their numbers of rows."""
    chances = [
        _chance(reference[feature.feature], current[feature.feature])
        for feature in features
        if feature.state is FeatureState.COMPARED
    ]
    return sum(chances) / len(chances) if chances else 0.0


def _chance(reference: "pd.Series[float]", current: "pd.Series[float]") -> float:
    n, m = int(reference.count()), int(current.count())
    kinds = reference.nunique()
    n_bins = kinds if kinds <= _CATEGORIES else math.ceil(math.log2(n + m)) + 1
    return psi_by_chance(PSI_MODERATE, n, m, n_bins)


def _state(name: str, reference: "pd.DataFrame", current: "pd.DataFrame", expected: set[str]) -> FeatureState:
    if name not in expected:
        return FeatureState.NEW
    if name not in current.columns or name not in reference.columns:
        return FeatureState.VANISHED
    return _state_of_values(reference[name].dropna(), current[name].dropna())


def _state_of_values(before: "pd.Series[float]", now: "pd.Series[float]") -> FeatureState:
    if min(len(before), len(now)) == 0:
        return {
            (True, True): FeatureState.NEVER_KNOWN,
            (True, False): FeatureState.UNKNOWN_BEFORE,
            (False, True): FeatureState.UNKNOWN_NOW,
        }[len(before) == 0, len(now) == 0]
    if min(len(before), len(now)) < LEAST_VALUES:
        return FeatureState.TOO_FEW
    if before.nunique() == now.nunique() == 1 and before.iloc[0] == now.iloc[0]:
        return FeatureState.CONSTANT
    return FeatureState.COMPARED


def _uncompared(name: str, state: FeatureState, reference: "pd.DataFrame", current: "pd.DataFrame") -> DriftFeature:
    is_constant = state is FeatureState.CONSTANT
    return DriftFeature(
        feature=name,
        method=METHOD,
        score=0.0 if is_constant else None,
        threshold=PSI_MODERATE,
        drifted=False if is_constant else None,
        state=state,
        missing_reference=_missing(reference, name),
        missing_current=_missing(current, name),
    )


def _missing(frame: "pd.DataFrame", name: str) -> float | None:
    return float(frame[name].isna().mean()) if name in frame.columns and len(frame) else None


def _compared(reference: "pd.DataFrame", current: "pd.DataFrame", names: list[str]) -> Iterator[DriftFeature]:
    """Score every column by Evidently's own test; a column over which it falls costs itself and not the report.

    Its report would draw each column too, found or not: 508 pictures took ten times as long as all the tests.
    """
    if not names:
        return
    from evidently.legacy.calculations.stattests import psi_stat_test  # noqa: PLC0415 - heavy
    from evidently.legacy.core import ColumnType  # noqa: PLC0415 - heavy

    for name in names:
        before, now = reference[name].dropna(), current[name].dropna()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numpy, about values that fail below
                found = psi_stat_test(before, now, ColumnType.Numerical, PSI_MODERATE)
            score, drifted = float(found.drift_score), bool(found.drifted)
        except Exception as error:  # noqa: BLE001  # whatever it is, it costs one column and not the report
            warnings.warn(f"{name} could not be compared: {error}", stacklevel=1)
            yield _uncompared(name, FeatureState.FAILED, reference, current)
            continue
        failed = not math.isfinite(score)
        yield DriftFeature(
            feature=name,
            method=METHOD,
            score=None if failed else score,
            threshold=PSI_MODERATE,
            drifted=None if failed else drifted,
            state=FeatureState.FAILED if failed else FeatureState.COMPARED,
            missing_reference=_missing(reference, name),
            missing_current=_missing(current, name),
        )


def evidently_report(reference: "pd.DataFrame", current: "pd.DataFrame", names: list[str]) -> Any:
    """Run Evidently's own report over these columns, for its pictures; a test for each."""
    from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 - heavy
    from evidently.metrics import ValueDrift  # noqa: PLC0415 - heavy

    definition = DataDefinition(numerical_columns=names)
    report = Report(
        [ValueDrift(column=name, method=METHOD, threshold=PSI_MODERATE) for name in names], include_tests=True
    )
    with warnings.catch_warnings():
        # a constant feature has no correlation with itself; Evidently computes one and does not use it
        warnings.simplefilter("ignore")
        return report.run(
            Dataset.from_pandas(current[names], data_definition=definition),
            Dataset.from_pandas(reference[names], data_definition=definition),
        )
