"""Words of the domain that go over the wire. It imports no numpy, so that a client of the API needs none."""

from enum import StrEnum
from typing import Literal

Label = Literal["home", "draw", "away"]


class Devig(StrEnum):
    """How the bookmaker's margin is taken out of implied probabilities."""

    POWER = "power"
    MULTIPLICATIVE = "multiplicative"
    SHIN = "shin"
    ADDITIVE = "additive"
    ODDS_RATIO = "odds-ratio"


class Staking(StrEnum):
    """How bets are staked."""

    FLAT = "flat"
    KELLY = "kelly"


class EdgeFrom(StrEnum):
    """Whose probabilities edges, stakes and value bets come from."""

    CONSENSUS = "consensus"
    MODEL = "model"
