"""Builds histories of settled matches for tests of money."""

from datetime import UTC, datetime

import numpy as np

from worker.pipeline.output.value_bets import SettledMatches

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000


def a_history(
    n: int = 4000, *, seed: int = 0, n_regions: int = 30, roi: float = -0.05, per_day: int = 10, edge: float = 0.1
) -> SettledMatches:
    """Bets in the order of settlement, `per_day` a day, that lose or win `roi` of their stakes in the long run.

    Regions are drawn at random: they say nothing about a bet.
    """
    rng = np.random.default_rng(seed)
    odds = rng.uniform(1.8, 6.0, n)
    settled_us = int(START.timestamp()) * 1_000_000 + np.arange(n) // per_day * DAY_US + 20 * 3_600_000_000
    return SettledMatches(
        match_id=np.arange(n),
        region=np.array([f"Region {i:02d}" for i in rng.integers(n_regions, size=n)]),
        tournament=np.array([f"League {i}" for i in rng.integers(2, size=n)]),
        settled_us=settled_us.astype(np.int64),
        edge=np.full(n, edge),
        odds=odds,
        won=rng.random(n) < (1 + roi) / odds,
        closing_edge=np.full(n, np.nan),
    )
