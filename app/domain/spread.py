"""How values are spread: histograms with open ends, and counts of pairs on a grid."""

from dataclasses import dataclass

import numpy as np

from app.domain.outcomes import Floats


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
