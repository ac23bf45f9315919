"""What a region's bets had returned at the end of each day: the figures that were known then."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.domain.outcomes import Flags, Floats
from app.domain.roi import MIN_BETS, Totals, drawdowns, interval

Times = npt.NDArray[np.int64]
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class RegionBets:
    """Settled bets in the order of their settlement, fields of shape (n,); times are microseconds since 1970, UTC.

    `clv` is the closing-line value of a unit bet; NaN where closing odds are unknown.
    """

    settled_us: Times
    stake: Floats
    profit: Floats
    won: Flags
    clv: Floats


def by_day(
    bets: RegionBets, judged_us: Times, until_us: int, min_bets: int = MIN_BETS
) -> dict[str, npt.NDArray[np.generic]]:
    """Columns of running totals, a row for each day on which a bet was settled, and one as of `until_us`, the last.

    A row counts what was settled strictly before its `settled_us`: the midnight after, or `until_us` when that is
    earlier. `judged_us` are the sorted times at which the region's judged matches ended, bets or not.
    """
    ends = np.minimum((bets.settled_us // _DAY_US + 1) * _DAY_US, until_us)
    until = np.union1d(ends, [until_us]).astype(np.int64)
    n_bets = np.searchsorted(bets.settled_us, until, side="left")
    totals = _at(Totals.running(bets.stake, bets.profit, bets.won), n_bets)
    return {
        "settled_us": until,
        "n_matches": np.searchsorted(judged_us, until, side="left"),
        "n_bets": n_bets,
        "n_wins": totals.n_wins.astype(np.int64),
        "hit_rate": totals.n_wins / np.where(n_bets > 0, n_bets, np.nan),
        "staked": totals.staked,
        "profit": totals.profit,
        **_interval(totals, "roi", min_bets),
        "max_drawdown": _started(drawdowns(bets.profit))[n_bets],
        **_closing_line(bets.clv, n_bets, min_bets),
    }


def _closing_line(clv: Floats, n_bets: npt.NDArray[np.intp], min_bets: int) -> dict[str, npt.NDArray[np.generic]]:
    known = ~np.isnan(clv)
    values = np.where(known, clv, 0.0)
    totals = _at(Totals.running(known.astype(np.float64), values, known), n_bets)
    counted = Totals(**{name: getattr(totals, name) for name in Totals.__slots__} | {"n_bets": totals.n_wins})
    return {"n_clv": totals.n_wins.astype(np.int64), **_interval(counted, "clv", min_bets)}


def _interval(totals: Totals, name: str, min_bets: int) -> dict[str, npt.NDArray[np.generic]]:
    found = interval(totals, min_bets)
    return {f"{name}_pct": found.roi_pct, f"{name}_ci_low": found.low, f"{name}_ci_high": found.high}


def _at(running: Totals, counts: npt.NDArray[np.intp]) -> Totals:
    return Totals(*(_started(getattr(running, name))[counts] for name in Totals.__slots__))


def _started(running: Floats) -> Floats:
    return np.concatenate([[0.0], running])
