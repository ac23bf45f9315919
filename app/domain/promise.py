"""Whether edges mean what they say: the profit that bets promised beside the profit that they made.

An edge is the expected profit of one unit. If it means what it says, bets at an edge of 4 % earn 4 % on average, and
the profit of bets rises with their edge one to one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.domain.outcomes import Floats
from app.domain.statistics import Z_95, mean

BOUNDS = (-0.05, 0.0, 0.02, 0.05, 0.1, 0.2)
MIN_JUDGED = 300  # bets of a range: the profit of fewer says nothing beside any promise


@dataclass(frozen=True, slots=True)
class PromiseBin:
    """Bets whose edge lies from `low` to `high` (None: open): the mean edge, and the mean profit with its interval."""

    low: float | None
    high: float | None
    n: int
    promised: float
    got: float
    got_low: float | None  # 95 %; None below two bets
    got_high: float | None

    @property
    def holds(self) -> bool:
        """Whether what was promised lies in the interval of what came; true while there is none."""
        if self.got_low is None or self.got_high is None:
            return True
        return self.got_low <= self.promised <= self.got_high


@dataclass(frozen=True, slots=True)
class Promise:
    """All bets by their edge, and the slope of profit over edge with its 95 % interval: 1 is an edge that is true."""

    n: int
    slope: float | None
    slope_low: float | None
    slope_high: float | None
    bins: tuple[PromiseBin, ...]
    n_value: int  # bets at the threshold or above it
    value_promised: float | None
    value_got: float | None
    value_low: float | None
    value_high: float | None

    @property
    def is_kept(self) -> bool:
        """Whether no range of enough bets has its promise outside the interval of what came."""
        return all(found.holds for found in self.bins if found.n >= MIN_JUDGED)


def compare_promise(edge: Floats, profit: Floats, threshold: float, bounds: Sequence[float] = BOUNDS) -> Promise:
    """Compare the edge of unit bets (n,) with their profit (n,), by ranges between rising `bounds` and beyond them."""
    place = np.searchsorted(np.asarray(bounds), edge, side="right")
    ends = list(pairwise([None, *bounds, None]))
    bins = tuple(_bin(edge[place == i], profit[place == i], *ends[i]) for i in np.unique(place).tolist())
    slope, deviation = _slope(edge, profit)
    taken = edge >= threshold
    value = _bin(edge[taken], profit[taken], threshold, None) if taken.any() else None
    return Promise(
        n=len(edge),
        slope=slope,
        slope_low=None if slope is None else slope - Z_95 * deviation,
        slope_high=None if slope is None else slope + Z_95 * deviation,
        bins=bins,
        n_value=value.n if value else 0,
        value_promised=value.promised if value else None,
        value_got=value.got if value else None,
        value_low=value.got_low if value else None,
        value_high=value.got_high if value else None,
    )


def _bin(edge: Floats, profit: Floats, low: float | None, high: float | None) -> PromiseBin:
    found = mean(profit)
    ends = (found.low, found.high) if len(profit) > 1 else (None, None)
    return PromiseBin(low, high, len(edge), float(edge.mean()), float(profit.mean()), *ends)


def _slope(edge: Floats, profit: Floats) -> tuple[float | None, float]:
    """Least squares, with a deviation that allows for the greater spread of long shots (White 1980, HC1)."""
    n = len(edge)
    centred = edge - edge.mean() if n else edge
    squares = float(centred @ centred)
    if n < 3 or not squares > 0:
        return None, 0.0
    slope = float(centred @ profit) / squares
    residuals = profit - profit.mean() - slope * centred
    return slope, float(np.sqrt(n / (n - 2) * ((centred * residuals) ** 2).sum())) / squares
