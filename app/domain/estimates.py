"""Means over matches with their uncertainty."""

from dataclasses import dataclass

import numpy as np

from app.domain.outcomes import Floats

_Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and the ends of its 95 % interval; NaN where there are too few values."""

    value: float
    low: float
    high: float


def mean(values: Floats) -> Estimate:
    """Mean of (n,) independent values, `mean +- 1.96 s/sqrt(n)` (the central limit theorem); NaN below two values."""
    if len(values) < 2:
        return Estimate(*[float("nan")] * 3)
    centre = float(values.mean())
    half = _Z_95 * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return Estimate(centre, centre - half, centre + half)


def difference(losses: Floats, others: Floats) -> Estimate:
    """Mean of `losses - others` over the same (n,) matches: below zero where the first forecaster is better.

    Paired: how hard a match was to foretell is in both and cancels, so the interval is far narrower than those of the
    two means (Diebold and Mariano 1995; matches are taken as independent).
    """
    return mean(losses - others)
