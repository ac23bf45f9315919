"""Prices of a simulated bookmaker: chances seen through noise, with a margin, on the steps prices move in."""

import numpy as np

from worker.batch.goals import Floats

_STEPS = ((2.0, 0.02), (3.0, 0.05), (6.0, 0.1), (10.0, 0.25), (np.inf, 0.5))
_LOWEST, _HIGHEST = 1.02, 51.0


def quote(chances: Floats, *, noise: float, margin: float, rng: np.random.Generator) -> Floats:
    """Decimal prices, shape (matches, 3), for `chances` misjudged by `noise` (log scale) and shortened by `margin`."""
    seen = chances * np.exp(rng.normal(0, noise, chances.shape))
    seen /= seen.sum(axis=1, keepdims=True)
    # long shots carry more of the margin, as bookmakers' prices show
    shortened = seen + margin * (0.75 * seen + 0.25 / 3)
    return _stepped(1 / shortened)


def _stepped(prices: Floats) -> Floats:
    step = np.select([prices < below for below, _ in _STEPS], [size for _, size in _STEPS])
    return np.asarray(np.clip(np.round(prices / step) * step, _LOWEST, _HIGHEST).round(2))
