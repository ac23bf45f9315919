"""What a drift score means."""

from enum import StrEnum

import numpy as np

from app.domain.outcomes import Floats

# the bounds in common use for the population stability index (Siddiqi 2006, "Credit Risk Scorecards")
PSI_MODERATE = 0.1
PSI_SEVERE = 0.25

# shares of drifted features
SHARE_MODERATE = 0.1
SHARE_SEVERE = 0.3

_LEAST_SHARE = 1e-4  # an empty bin must not make the logarithm infinite


class Verdict(StrEnum):
    """What an operator should think of a report."""

    STABLE = "stable"
    MODERATE = "moderate"
    SEVERE = "severe"
    NO_DATA = "no data"


def verdict(share: float | None) -> Verdict:
    """Judge the share of drifted features, 0 to 1; None or NaN when nothing could be compared."""
    return _judge(share, SHARE_MODERATE, SHARE_SEVERE)


def psi_verdict(index: float | None) -> Verdict:
    """Judge one feature's population stability index, >= 0; None or NaN when it could not be computed."""
    return _judge(index, PSI_MODERATE, PSI_SEVERE)


def _judge(score: float | None, moderate: float, severe: float) -> Verdict:
    if score is None or np.isnan(score):
        return Verdict.NO_DATA
    if score >= severe:
        return Verdict.SEVERE
    return Verdict.MODERATE if score >= moderate else Verdict.STABLE


def psi(reference: Floats, current: Floats, n_bins: int = 10) -> float:
    """Population stability index of two samples, `sum((c-r)*ln(c/r))` over quantile bins of the reference.

    Missing values (NaN) are left out; NaN when a sample has none but those. 0 means the same distribution.
    """
    reference, current = reference[~np.isnan(reference)], current[~np.isnan(current)]
    if not len(reference) or not len(current):
        return float("nan")
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, n_bins + 1)[1:-1]))
    shares = [_shares(values, edges) for values in (reference, current)]
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def _shares(values: Floats, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return np.maximum(counts / len(values), _LEAST_SHARE)
