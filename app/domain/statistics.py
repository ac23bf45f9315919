"""Means with their uncertainty, significance of a difference, and histograms."""

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from app.domain.outcomes import Flags, Floats

Z_95 = 1.959963984540054  # half of a normal 95 % interval, in standard deviations


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
    half = Z_95 * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return Estimate(centre, centre - half, centre + half)


def difference(losses: Floats, others: Floats) -> Estimate:
    """Mean of `losses - others` over the same (n,) matches: below zero where the first forecaster is better.

    Paired: how hard a match was to foretell is in both and cancels, so the interval is far narrower than those of the
    two means (Diebold and Mariano 1995; matches are taken as independent).
    """
    return mean(losses - others)


_FALSE_SHARE = 0.05


def p_value(estimate: Floats, low: Floats, high: Floats) -> Floats:
    """Two-sided p that the truth is 0, from an estimate and the ends of its normal 95 % interval; each (n,).

    NaN in, NaN out; an interval without width gives 0, or 1 for an estimate of exactly 0.
    """
    deviation = (high - low) / (2 * Z_95)
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


@dataclass(frozen=True, slots=True)
class Bar:
    """Values from `low` (included) to `high`; None is an open end."""

    low: float | None
    high: float | None
    n: int


def histogram(values: Floats, edges: Floats) -> tuple[Bar, ...]:
    """Counts of values (n,) between rising edges (k,), and beyond them: k + 1 bars."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    lows = [None, *edges.tolist()]
    highs = [*edges.tolist(), None]
    return tuple(Bar(low, high, n) for low, high, n in zip(lows, highs, counts.tolist(), strict=True))


def edges_around(threshold: float, width: float, below: int, above: int) -> Floats:
    """Edges of equal bins with the threshold among them, so that no bar lies on both sides of it."""
    return np.round(threshold + width * np.arange(-below, above + 1), 10)


def grid(first: Floats, second: Floats, n_cells: int) -> tuple[tuple[int, int, int], ...]:
    """Pairs of probabilities (n,) counted on a square grid: place of the first, of the second, and the count."""
    place = [np.minimum((values * n_cells).astype(np.int64), n_cells - 1) for values in (first, second)]
    counts = np.bincount(place[0] * n_cells + place[1], minlength=n_cells**2)
    return tuple((int(cell) // n_cells, int(cell) % n_cells, int(counts[cell])) for cell in np.flatnonzero(counts))
