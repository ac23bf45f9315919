"""The running result of bets over time, beside what the model expected of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.domain.outcomes import Floats
from app.domain.statistics import Z_95

MAX_POINTS = 400  # a chart is a thousand pixels wide; more points are bytes nobody sees

Days = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Curve:
    """State at the end of each point's last day; all of shape (k,), money in units of the stakes.

    `spread` is the half-width of the 95 % range around `expected` that luck alone explains when the model is right;
    `drawdown` the deepest fall below the earlier peak within the point, >= 0.
    """

    day: Days
    n_bets: Days
    profit: Floats
    expected: Floats
    spread: Floats
    drawdown: Floats


@dataclass(frozen=True, slots=True)
class CurveBets:
    """Settled bets in order; `day` counts days from any start, `edge` is p*price-1; each field (n,)."""

    day: Days
    stake: Floats
    profit: Floats
    price: Floats
    edge: Floats


def curve(bets: CurveBets, max_points: int = MAX_POINTS) -> Curve:
    """The running sums by day, or by several days together when there are more than `max_points`.

    A bet wins with p = (1+edge)/price by the model, so its profit has the variance `(stake*price)**2 * p*(1-p)`.
    """
    ends = _ends(bets.day, max_points)
    win = np.clip((1 + bets.edge) / bets.price, 0.0, 1.0)
    variance = (bets.stake * bets.price) ** 2 * win * (1 - win)
    running = np.cumsum(bets.profit)
    fall = np.maximum(np.maximum.accumulate(running), 0.0) - running
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.intp)
    return Curve(
        day=bets.day[ends],
        n_bets=ends + 1,
        profit=running[ends],
        expected=np.cumsum(bets.stake * bets.edge)[ends],
        spread=Z_95 * np.sqrt(np.cumsum(variance)[ends]),
        drawdown=np.maximum.reduceat(fall, starts) if len(ends) else fall,
    )


def _ends(day: Days, max_points: int) -> npt.NDArray[np.intp]:
    """Place of the last bet of each point."""
    last = np.flatnonzero(np.append(np.diff(day) != 0, True)) if len(day) else np.array([], dtype=np.intp)
    step = -(-len(last) // max_points) or 1
    # from the end, so that the newest day always closes the curve
    return np.asarray(last[::-1][::step][::-1], dtype=np.intp)
