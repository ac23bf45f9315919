"""The three outcomes of a match and their order in every array: home, draw, away."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from app.domain.vocabulary import Label

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

OUTCOMES: tuple[Label, Label, Label] = ("home", "draw", "away")


class Outcome(IntEnum):
    """How a match ended after regular time; the value is the column in an (n, 3) array."""

    HOME = 0
    DRAW = 1
    AWAY = 2

    @property
    def label(self) -> Label:
        """The word used on the wire."""
        return OUTCOMES[self.value]

    @classmethod
    def of_score(cls, home: int, away: int) -> "Outcome":
        """The outcome of a final score in goals."""
        if home == away:
            return cls.DRAW
        return cls.HOME if home > away else cls.AWAY


def predicted_class(probabilities: Floats) -> Indices:
    """The most probable outcome of each row of (n, 3), as int8; the earlier one wins a tie."""
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int8)


def one_hot(outcomes: npt.NDArray[np.integer]) -> Floats:
    """Outcomes (n,) of 0, 1, 2 as an (n, 3) array of zeros and ones."""
    return np.asarray(np.eye(len(Outcome))[outcomes], dtype=np.float64)
