"""What decimal odds say: implied and fair probabilities, the margin, and the edge of a model over a price.

Arrays are float64 of shape (n, 3) in the order home, draw, away. A row with a price that is missing, infinite or
not above 1 says nothing: every function gives NaN for it, and a NaN is never a value bet.
"""

from enum import StrEnum

import numpy as np

from app.domain.outcomes import Flags, Floats, Indices

_STEPS = 64  # Newton needs about 6, bisection 53: both stop at the resolution of float64


class Devig(StrEnum):
    """How the bookmaker's margin is taken out of implied probabilities."""

    POWER = "power"
    MULTIPLICATIVE = "multiplicative"
    SHIN = "shin"


def implied(odds: Floats) -> Floats:
    """Implied probabilities `1/odds`, (n, 3); they sum to one plus the overround."""
    usable = np.all(np.isfinite(odds) & (odds > 1.0), axis=1, keepdims=True)
    return np.where(usable, 1.0 / np.where(usable, odds, 2.0), np.nan)


def overround(odds: Floats) -> Floats:
    """The margin `sum(1/odds) - 1` of each row, (n,); negative when the prices allow arbitrage."""
    return np.asarray(implied(odds).sum(axis=1) - 1.0, dtype=np.float64)


def fair(odds: Floats, method: Devig = Devig.POWER) -> Floats:
    """Probabilities without the margin, (n, 3), rows summing to one, in the order of the prices.

    power: `p = implied**k` with k such that they sum to one, the default because it takes more from long shots,
    as bookmakers do (Clarke, Kovalchik and Ingram 2017, "Adjusting Bookmaker's Odds to Allow for Overround").
    multiplicative: `p = implied / sum(implied)`.
    shin: a share z of bettors knows the outcome (Shin 1993; closed form of Jullien and Salanie 1994, as in
    Strumbelj 2014, "On determining probability forecasts from betting odds"); rows with a negative margin have
    no such z and are scaled multiplicatively.
    """
    raw = implied(odds)
    if method is Devig.POWER:
        raw = _power(raw)
    elif method is Devig.SHIN:
        raw = _shin(raw)
    return np.asarray(raw / raw.sum(axis=1, keepdims=True), dtype=np.float64)


def _power(raw: Floats) -> Floats:
    logs = np.log(raw)
    k = np.zeros((len(raw), 1))
    # log(sum(p**k)) is convex and falls with k, so Newton from k=0 climbs to its root and never passes it
    for _ in range(_STEPS):
        powers = np.exp(k * logs)
        total = powers.sum(axis=1, keepdims=True)
        step = -np.log(total) * total / (powers * logs).sum(axis=1, keepdims=True)
        k = k + step
        if not (np.abs(step) > 1e-14 * np.abs(k)).any():
            break
    return np.asarray(np.exp(k * logs), dtype=np.float64)


def _shin(raw: Floats) -> Floats:
    total = raw.sum(axis=1, keepdims=True)
    low, high = np.zeros_like(total), np.ones_like(total)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        above = _shin_at(raw, total, middle).sum(axis=1, keepdims=True) > 1.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    # at the upper end z reaches 1 only where the formula is 0/0; no margin means no informed bettors
    return np.where(total > 1.0, _shin_at(raw, total, low), raw)


def _shin_at(raw: Floats, total: Floats, z: Floats) -> Floats:
    rest = np.maximum(1.0 - z, np.finfo(np.float64).tiny)
    return np.asarray((np.sqrt(z**2 + 4 * rest * raw**2 / total) - z) / (2 * rest), dtype=np.float64)


def edge(probabilities: Floats, odds: Floats) -> Floats:
    """Expected profit of one unit staked on each outcome, `p*odds - 1`, (n, 3)."""
    return np.where(np.isnan(implied(odds)), np.nan, probabilities * odds - 1.0)


def best_edge(edges: Floats) -> tuple[Indices, Floats]:
    """Outcome with the largest edge (int8, -1 where unknown; the earlier wins a tie) and that edge, each (n,)."""
    known = ~np.isnan(edges.sum(axis=1))
    filled = np.where(np.isnan(edges), 0.0, edges)
    index = np.where(known, filled.argmax(axis=1), -1).astype(np.int8)
    return index, np.where(known, filled.max(axis=1), np.nan)


def is_value(best: Floats, threshold: float) -> Flags:
    """Whether a match's best edge, (n,), is at or above the threshold."""
    return np.asarray(best >= threshold, dtype=np.bool_)
