"""Goals as two Poisson counts with the Dixon-Coles correction of low scores."""

from math import lgamma

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_GOALS = 10
LOW_SCORE_DEPENDENCE = -0.09  # more 0-0 and 1-1, fewer 1-0 and 0-1 than independent counts give
_COUNTS = np.arange(MOST_GOALS + 1)
_LOG_FACTORIALS = np.array([lgamma(count + 1) for count in _COUNTS])


def score_chances(home_rate: Floats, away_rate: Floats) -> Floats:
    """Probability of each score, shape (matches, home goals, away goals)."""
    chances = _poisson(home_rate)[:, :, None] * _poisson(away_rate)[:, None, :]
    rho = LOW_SCORE_DEPENDENCE
    chances[:, 0, 0] *= 1 - home_rate * away_rate * rho
    chances[:, 0, 1] *= 1 + home_rate * rho
    chances[:, 1, 0] *= 1 + away_rate * rho
    chances[:, 1, 1] *= 1 - rho
    return np.asarray(chances / chances.sum(axis=(1, 2), keepdims=True))


def _poisson(rate: Floats) -> Floats:
    return np.asarray(np.exp(_COUNTS * np.log(rate)[:, None] - rate[:, None] - _LOG_FACTORIALS))


def outcome_chances(scores: Floats) -> Floats:
    """Probability of home win, draw and away win, shape (matches, 3)."""
    home = np.tril(scores, -1).sum(axis=(1, 2))
    draw = np.trace(scores, axis1=1, axis2=2)
    return np.stack([home, draw, 1 - home - draw], axis=1)


def draw_scores(scores: Floats, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """One score for each match."""
    cumulative = scores.reshape(len(scores), -1).cumsum(axis=1)
    cells = (cumulative < rng.random((len(scores), 1))).sum(axis=1).clip(max=cumulative.shape[1] - 1)
    return np.asarray(cells // (MOST_GOALS + 1)), np.asarray(cells % (MOST_GOALS + 1))
