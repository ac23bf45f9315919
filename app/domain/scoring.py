"""How good probabilities were: proper scores and calibration.

`probabilities` is float64 (n, 3) with rows summing to one, `outcomes` integers (n,) of 0 home, 1 draw, 2 away. Every
score is a mean over matches, smaller is better, and a score of no matches is NaN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.domain.outcomes import Floats, one_hot
from app.domain.statistics import Z_95

Outcomes = npt.NDArray[np.integer]

_EPSILON = 1e-15  # a certain forecast that fails costs 34.5 nats, not infinity
N_BINS = 15


@dataclass(frozen=True, slots=True)
class Losses:
    """What each match cost a forecaster, shape (n,): the terms of which the scores are means."""

    log_loss: Floats
    brier: Floats
    rps: Floats


def losses(probabilities: Floats, outcomes: Outcomes) -> Losses:
    """The cost of each match by each of the three proper scores."""
    return Losses(
        _log_losses(probabilities, outcomes), _briers(probabilities, outcomes), _ranked(probabilities, outcomes)
    )


def log_loss(probabilities: Floats, outcomes: Outcomes) -> float:
    """Mean of `-ln p(outcome)`, natural logarithm (Good 1952); 1.0986 for three equal probabilities."""
    return _mean(_log_losses(probabilities, outcomes))


def brier(probabilities: Floats, outcomes: Outcomes) -> float:
    """Mean of the squared distance to the outcome, summed over the three (Brier 1950): 0 to 2."""
    return _mean(_briers(probabilities, outcomes))


def rps(probabilities: Floats, outcomes: Outcomes) -> float:
    """Ranked probability score: squared distances of the cumulative sums, over 2 (Epstein 1969): 0 to 1."""
    return _mean(_ranked(probabilities, outcomes))


def _log_losses(probabilities: Floats, outcomes: Outcomes) -> Floats:
    happened = probabilities[np.arange(len(outcomes)), outcomes]
    return np.asarray(-np.log(np.clip(happened, _EPSILON, 1.0)), dtype=np.float64)


def _briers(probabilities: Floats, outcomes: Outcomes) -> Floats:
    return np.asarray(((probabilities - one_hot(outcomes)) ** 2).sum(axis=1), dtype=np.float64)


def _ranked(probabilities: Floats, outcomes: Outcomes) -> Floats:
    distance = np.cumsum(probabilities - one_hot(outcomes), axis=1)[:, :2]
    return np.asarray((distance**2).sum(axis=1) / 2, dtype=np.float64)


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


@dataclass(frozen=True, slots=True)
class Bin:
    """Forecasts of one range of probability, what happened, and the Wilson 95 % interval of the frequency."""

    low: float
    high: float
    n: int
    forecast: float
    frequency: float
    frequency_low: float
    frequency_high: float


def reliability(forecast: Floats, happened: Floats, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Forecasts (n,) in bins of equal width beside the share that happened (n,) of 0 or 1; empty bins are left out."""
    place = np.minimum((forecast * n_bins).astype(np.int64), n_bins - 1)
    return tuple(
        _bin(forecast[place == index], happened[place == index], index, n_bins) for index in np.unique(place).tolist()
    )


def _bin(forecast: Floats, happened: Floats, index: int, n_bins: int) -> Bin:
    frequency = float(happened.mean())
    low, high = wilson(frequency, len(forecast))
    return Bin(index / n_bins, (index + 1) / n_bins, len(forecast), float(forecast.mean()), frequency, low, high)


def wilson(frequency: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a frequency seen in n trials (Wilson 1927); 0 to 1 when there were none."""
    if n == 0:
        return 0.0, 1.0
    centre = frequency + Z_95**2 / (2 * n)
    half = Z_95 * float(np.sqrt(frequency * (1 - frequency) / n + Z_95**2 / (4 * n**2)))
    scale = 1 + Z_95**2 / n
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def expected_calibration_error(probabilities: Floats, outcomes: Outcomes, n_bins: int = N_BINS) -> float:
    """Mean distance of forecast from frequency over equal-width bins of all 3n probabilities, weighted by count.

    The class-wise form of Naeini et al. 2015: every outcome's probability counts, not only the favourite's.
    """
    bins = reliability(probabilities.ravel(), one_hot(outcomes).ravel(), n_bins)
    total = sum(found.n for found in bins)
    if not total:
        return float("nan")
    return sum(found.n * abs(found.forecast - found.frequency) for found in bins) / total


def calibration_noise_floor(probabilities: Floats, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error of a perfect forecaster who states these probabilities, (n, 3).

    Outcomes drawn from the probabilities themselves still miss them by chance, so an error near this figure shows no
    miscalibration. In one bin a match counts with all its outcomes that fall there. At most one of them happens: with
    q, the sum of their probabilities, the number that happens has the variance `sum(q*(1-q))`. The mean distance of a
    normal variable from its mean is sqrt(2/pi) times its standard deviation (within a tenth at 30 matches, a twentieth
    at 300). NaN without matches.
    """
    if not len(probabilities):
        return float("nan")
    place = np.minimum((probabilities * n_bins).astype(np.int64), n_bins - 1)
    same = place[:, :, None] == place[:, None, :]
    chances = np.minimum((same * probabilities[:, None, :]).sum(axis=2), 1.0)
    # a match whose outcomes share a bin stands there once, not once an outcome
    variances = chances * (1 - chances) / same.sum(axis=2)
    deviations = np.sqrt(np.bincount(place.ravel(), variances.ravel(), minlength=n_bins))
    return float(np.sqrt(2 / np.pi) * deviations.sum() / probabilities.size)


@dataclass(frozen=True, slots=True)
class Scores:
    """The four scores of one forecaster on the same n matches, and the ECE that a perfect one would have on them."""

    n: int
    log_loss: float
    brier: float
    rps: float
    ece: float
    ece_floor: float


def score(probabilities: Floats, outcomes: Outcomes) -> Scores:
    """All scores at once."""
    return Scores(
        n=len(outcomes),
        log_loss=log_loss(probabilities, outcomes),
        brier=brier(probabilities, outcomes),
        rps=rps(probabilities, outcomes),
        ece=expected_calibration_error(probabilities, outcomes),
        ece_floor=calibration_noise_floor(probabilities),
    )
