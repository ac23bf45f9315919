"""Return on stakes: sums of settled bets, ROI with its interval, drawdown, and shrinkage of small samples.

The interval is the normal approximation of the ratio estimator R = sum(profit)/sum(stake) with the bets as independent
units (there is at most one a match): se = sqrt(n/(n-1) * sum((profit - R*stake)**2)) / sum(stake), and R +- 1.96 se
(Cochran 1977, "Sampling Techniques", chapter 6). With flat stakes this is the t-statistic's s/sqrt(n). It is exact
arithmetic: the same bets always give the same interval.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from app.domain.outcomes import Flags, Floats
from app.domain.statistics import Z_95

CI_METHOD = "normal"  # as above: what an answer says beside its interval
MIN_BETS = 20  # below this an ROI is noise: say "too few"
PRIOR_BETS = 400  # bets' worth of belief that a region is like all others; see `shrink`


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over bets that suffice for ROI and interval; each field has one element per group, all of one shape."""

    n_bets: Floats
    n_wins: Floats
    staked: Floats
    profit: Floats
    stake_squares: Floats
    profit_squares: Floats
    stake_profits: Floats

    @classmethod
    def running(cls, stake: Floats, profit: Floats, won: Flags) -> Self:
        """Totals after each bet in the order given, fields of shape (n,)."""
        ones = np.ones(len(stake))
        columns = (ones, won, stake, profit, stake**2, profit**2, stake * profit)
        return cls(*(np.cumsum(column, dtype=np.float64) for column in columns))

    @classmethod
    def from_bets(cls, stake: Floats, profit: Floats, won: Flags) -> Self:
        """Totals of all bets, fields of shape (1,)."""
        ones = np.ones(len(stake))
        columns = (ones, won, stake, profit, stake**2, profit**2, stake * profit)
        return cls(*(np.asarray([np.sum(column, dtype=np.float64)]) for column in columns))


@dataclass(frozen=True, slots=True)
class Interval:
    """ROI in percent with the ends of its 95 % interval; NaN where there are too few bets."""

    roi_pct: Floats
    low: Floats
    high: Floats


def interval(totals: Totals, min_bets: int = MIN_BETS) -> Interval:
    """ROI and 95 % interval of each group, percent; NaN below `min_bets` bets (never below 2) or without a stake."""
    enough = (totals.n_bets >= max(min_bets, 2)) & (totals.staked > 0)
    staked = np.where(enough, totals.staked, np.nan)
    ratio = totals.profit / staked
    squares = totals.profit_squares - 2 * ratio * totals.stake_profits + ratio**2 * totals.stake_squares
    count = np.where(enough, totals.n_bets, np.nan)
    # rounding may leave a sum of squares of equal profits a hair below zero
    half = Z_95 * np.sqrt(np.maximum(squares, 0.0) * count / (count - 1)) / staked
    return Interval(100 * ratio, 100 * (ratio - half), 100 * (ratio + half))


def max_drawdown(profit: Floats) -> float:
    """Deepest fall of the running profit below its earlier peak (which starts at 0), as a number >= 0."""
    return float(drawdowns(profit)[-1]) if len(profit) else 0.0


def drawdowns(profit: Floats) -> Floats:
    """The `max_drawdown` after each bet in the order given, (n,)."""
    running = np.cumsum(profit)
    peak = np.maximum(np.maximum.accumulate(running), 0.0)
    return np.asarray(np.maximum.accumulate(peak - running), dtype=np.float64)


def shrink(roi_pct: Floats, n_bets: Floats, global_pct: Floats, prior_bets: float = PRIOR_BETS) -> Floats:
    """ROI drawn towards the mean of all regions, `(n*roi + m*global)/(n + m)`; NaN where `roi_pct` is NaN.

    The empirical-Bayes mean of equal-variance groups (Efron and Morris 1975) with m = within/between variance. A
    unit bet at football prices has a standard deviation near 1.2; regions truly differ by a few percent, say 0.06:
    m = (1.2/0.06)**2 = 400.
    """
    return np.asarray((n_bets * roi_pct + prior_bets * global_pct) / (n_bets + prior_bets), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Roi:
    """Result of a set of settled bets; ROI and interval are None below the least number of bets."""

    n_bets: int
    n_wins: int
    hit_rate: float | None
    staked: float
    profit: float
    roi_pct: float | None
    roi_ci_low: float | None
    roi_ci_high: float | None
    max_drawdown: float
    too_few: bool


def summarise(stake: Floats, profit: Floats, won: Flags, min_bets: int = MIN_BETS) -> Roi:
    """Sum up settled bets, arrays of shape (n,) in the order they were settled; nothing at all is not an error."""
    totals = Totals.from_bets(stake, profit, won)
    found = interval(totals, min_bets)
    n_bets, n_wins = len(stake), int(np.sum(won))
    return Roi(
        n_bets=n_bets,
        n_wins=n_wins,
        hit_rate=n_wins / n_bets if n_bets else None,
        staked=float(totals.staked[0]),
        profit=float(totals.profit[0]),
        roi_pct=_number(found.roi_pct),
        roi_ci_low=_number(found.low),
        roi_ci_high=_number(found.high),
        max_drawdown=max_drawdown(profit),
        too_few=n_bets < min_bets,
    )


@dataclass(frozen=True, slots=True)
class ClosingLine:
    """Mean closing-line value of bets, percent, and its 95 % interval; None below the least number of bets."""

    n_clv: int
    clv_pct: float | None
    clv_ci_low: float | None
    clv_ci_high: float | None


def closing_line(values: Floats, min_bets: int = MIN_BETS) -> ClosingLine:
    """Sum up closing-line values of unit bets, (n,); NaN where closing odds are unknown."""
    known = values[~np.isnan(values)]
    found = interval(Totals.from_bets(np.ones(len(known)), known, known > 0), min_bets)
    return ClosingLine(len(known), _number(found.roi_pct), _number(found.low), _number(found.high))


def _number(values: Floats) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])
