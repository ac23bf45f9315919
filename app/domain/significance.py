"""Whether a figure differs from zero by more than luck, alone and as one of many."""

from math import erfc, sqrt

import numpy as np

from app.domain.outcomes import Flags, Floats

_Z_95 = 1.959963984540054
_FALSE_SHARE = 0.05


def p_value(estimate: Floats, low: Floats, high: Floats) -> Floats:
    """Two-sided p that the truth is 0, from an estimate and the ends of its normal 95 % interval; each (n,).

    NaN in, NaN out; an interval without width gives 0, or 1 for an estimate of exactly 0.
    """
    deviation = (high - low) / (2 * _Z_95)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, np.abs(estimate) / deviation, np.where(estimate == 0, 0.0, np.inf))
    z = np.where(np.isnan(estimate) | np.isnan(deviation), np.nan, z)
    return np.asarray([erfc(value / sqrt(2)) for value in z.tolist()], dtype=np.float64)


def discoveries(p: Floats, false_share: float = _FALSE_SHARE) -> Flags:
    """Which of many p-values (n,) may be called real, at most `false_share` of them wrongly on average.

    Step-up procedure of Benjamini and Hochberg 1995: with 40 regions at 95 % two look so by luck. NaN never is.
    """
    known = np.flatnonzero(~np.isnan(p))
    ranked = known[np.argsort(p[known], kind="stable")]
    below = np.flatnonzero(p[ranked] <= false_share * np.arange(1, len(ranked) + 1) / max(len(ranked), 1))
    found = np.zeros(len(p), dtype=np.bool_)
    found[ranked[: below[-1] + 1 if len(below) else 0]] = True
    return found
