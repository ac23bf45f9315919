"""How much is staked on a bet, and what the bet returns."""

import numpy as np

from app.domain.outcomes import Flags, Floats

KELLY_FRACTION = 0.25  # full Kelly ruins whoever overestimates an edge; a quarter keeps half the growth
KELLY_CAP = 0.05  # no single match risks more of the bankroll, whatever the model believes


def kelly(edge: Floats, odds: Floats) -> Floats:
    """Full Kelly stake as a share of the bankroll, `edge/(odds-1)` and never below 0 (Kelly 1956); NaN in, NaN out."""
    return np.asarray(np.maximum(edge / (odds - 1.0), 0.0), dtype=np.float64)


def kelly_stake(edge: Floats, odds: Floats, fraction: float = KELLY_FRACTION, cap: float = KELLY_CAP) -> Floats:
    """A fraction of the Kelly stake, at most `cap`; a share of the bankroll, shaped like `edge`."""
    return np.asarray(np.minimum(kelly(edge, odds) * fraction, cap), dtype=np.float64)


def flat_stake(edge: Floats) -> Floats:
    """One unit on every bet, shaped like `edge`."""
    return np.ones_like(edge, dtype=np.float64)


def settle(stake: Floats, odds: Floats, won: Flags) -> Floats:
    """Profit in the units of `stake`: `stake*(odds-1)` when won, `-stake` when lost."""
    return np.where(won, stake * (odds - 1.0), -stake)
