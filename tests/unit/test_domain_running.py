"""Running totals by day, and what choosing bets by them can and cannot do."""

import numpy as np
import numpy.typing as npt
import pytest

from app.domain.roi import Interval, Totals, closing_line, interval, shrink, summarise
from app.domain.running import RegionBets, by_day

Floats = npt.NDArray[np.float64]
DAY_US = 86_400_000_000
TWO_HOURS_US = 7_200_000_000
N_SHUFFLES = 100


def some_bets(n: int = 3000, *, per_day: int = 10, seed: int = 0) -> RegionBets:
    """Flat bets that lose 5 % in the long run, settled at eight in the evening; every third has a CLV."""
    rng = np.random.default_rng(seed)
    odds = rng.uniform(1.8, 6.0, n)
    won = rng.random(n) < 0.95 / odds
    clv = np.where(np.arange(n) % 3 == 0, rng.normal(-0.02, 0.05, n), np.nan)
    settled_us = np.arange(n) // per_day * DAY_US + 20 * 3_600_000_000
    return RegionBets(settled_us, np.ones(n), np.where(won, odds - 1, -1.0), won, clv)


def chosen(bets: RegionBets, which: npt.NDArray[np.bool_]) -> RegionBets:
    return RegionBets(bets.settled_us[which], bets.stake[which], bets.profit[which], bets.won[which], bets.clv[which])


def test_each_row_is_the_summary_of_the_bets_before_it() -> None:
    bets = some_bets(300)
    rows = by_day(bets, bets.settled_us, 40 * DAY_US)
    assert len(rows["settled_us"]) == 31
    for i in (0, 3, 17, 30):
        known = chosen(bets, bets.settled_us < rows["settled_us"][i])
        money = summarise(known.stake, known.profit, known.won)
        line = closing_line(known.clv)
        for name in ("n_bets", "n_wins", "hit_rate", "staked", "profit", "roi_pct", "roi_ci_low", "max_drawdown"):
            assert rows[name][i] == pytest.approx(or_nan(getattr(money, name)), nan_ok=True), name
        for name in ("n_clv", "clv_pct", "clv_ci_low", "clv_ci_high"):
            assert rows[name][i] == pytest.approx(or_nan(getattr(line, name)), nan_ok=True), name


def or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def test_no_bets_have_one_row_that_says_nothing() -> None:
    rows = by_day(some_bets(0), np.array([5, 6]), 7)
    assert (rows["n_matches"].tolist(), rows["n_bets"].tolist(), rows["max_drawdown"].tolist()) == ([2], [0], [0.0])
    assert np.isnan(rows["roi_pct"]).all()
    assert np.isnan(rows["hit_rate"]).all()


def walk_forward(bets: RegionBets, region: npt.NDArray[np.int64]) -> Floats:
    """For each bet, its region's shrunk ROI from what was settled before its kick-off; NaN with too few bets."""
    kickoff = bets.settled_us - TWO_HOURS_US
    known = np.full(len(region), np.nan)
    overall = 100 * np.cumsum(bets.profit) / np.cumsum(bets.stake)
    before = np.searchsorted(bets.settled_us, kickoff, side="left")
    for name in np.unique(region):
        mine = region == name
        rows = by_day(chosen(bets, mine), bets.settled_us[mine], 400 * DAY_US)
        at = np.searchsorted(rows["settled_us"], kickoff[mine], side="right") - 1
        shrunk = shrink(rows["roi_pct"][at], rows["n_bets"][at].astype(float), overall[before[mine] - 1])
        known[mine] = np.where(at >= 0, shrunk, np.nan)
    return known


@pytest.mark.timeout(600)
def test_regions_that_say_nothing_gain_nothing_when_only_the_past_is_known() -> None:
    """Labels are shuffled: chosen by the past, bets return what all do; chosen by themselves, they invent a profit."""
    bets = some_bets(6000, per_day=30)
    rng = np.random.default_rng(1)
    labels = rng.integers(60, size=len(bets.profit))
    honest, overall, invented = [], [], []
    for _ in range(N_SHUFFLES):
        region = rng.permutation(labels)
        figure = walk_forward(bets, region)
        honest.append(bets.profit[figure >= np.nanmedian(figure)].mean())
        overall.append(bets.profit[~np.isnan(figure)].mean())
        invented.append(in_sample(bets, region))
    assert np.mean(honest) == pytest.approx(np.mean(overall), abs=0.01)
    assert np.mean(honest) < -0.04
    # +12 % of nothing, and in every shuffle the interval is clear of zero
    assert np.mean([one.roi_pct for one in invented]) > 8
    assert min(one.low for one in invented) > 0


def in_sample(bets: RegionBets, region: npt.NDArray[np.int64]) -> Interval:
    """What the bets of those regions returned whose ROI over these very bets is not negative."""
    by_region = np.bincount(region, bets.profit) / np.bincount(region)
    trap = chosen(bets, by_region[region] >= 0)
    return interval(Totals.from_bets(trap.stake, trap.profit, trap.won))
