"""What a drift score means."""

import math
from enum import StrEnum

# the bound in common use for the population stability index (Siddiqi 2006, "Credit Risk Scorecards")
PSI_MODERATE = 0.1

# shares of drifted features
SHARE_MODERATE = 0.1
SHARE_SEVERE = 0.3

# a share of drifted features that chance alone could give makes a report worthless: too few rows
SHARE_BY_CHANCE = 0.05

_RENAMED = {"could not be compared": "failed"}


class _DriftValue(StrEnum):
    """A value of a drift report; reports of version 0.1 spell values with spaces."""

    @classmethod
    def _missing_(cls, value: object) -> "_DriftValue | None":
        """Return the member of an old spelling."""
        name = _RENAMED.get(str(value), str(value).replace(" ", "_"))
        return next((member for member in cls if member.value == name), None)


class Verdict(_DriftValue):
    """What an operator should think of a report."""

    STABLE = "stable"
    MODERATE = "moderate"
    SEVERE = "severe"
    NO_DATA = "no_data"


class ReportState(_DriftValue):
    """What came of a comparison."""

    COMPARED = "compared"
    NO_REFERENCE = "no_reference"
    NO_CURRENT = "no_current_matches"
    NOTHING_COMPARABLE = "nothing_comparable"
    TOO_FEW_ROWS = "too_few_rows"


class FeatureState(_DriftValue):
    """What came of one feature."""

    COMPARED = "compared"
    CONSTANT = "constant"
    NEVER_KNOWN = "no_values_at_all"
    UNKNOWN_BEFORE = "no_values_in_the_reference"
    UNKNOWN_NOW = "no_values_now"
    TOO_FEW = "too_few_values"
    NEW = "new"
    VANISHED = "vanished"
    FAILED = "failed"


def verdict(share: float | None, by_chance: float = 0.0) -> Verdict:
    """Judge the share of drifted features, 0 to 1, above what chance gives; None or NaN: nothing could be compared."""
    if share is None or math.isnan(share):
        return Verdict.NO_DATA
    excess = share - by_chance
    if excess >= SHARE_SEVERE:
        return Verdict.SEVERE
    return Verdict.MODERATE if excess >= SHARE_MODERATE else Verdict.STABLE


def psi_by_chance(index: float, n_reference: int, n_current: int, n_bins: int) -> float:
    """Probability that two samples of one distribution differ by this index or more.

    Then the index is `(1/n + 1/m)` times a chi-square of `n_bins - 1` degrees of freedom (Yurdakul and Naranjo 2020,
    "Statistical properties of the population stability index"), here by the cube root of Wilson and Hilferty 1931.
    """
    degrees = n_bins - 1
    if degrees < 1:
        return 0.0
    statistic = index / (1 / n_reference + 1 / n_current)
    spread = 2 / (9 * degrees)
    z = ((statistic / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2))


class CheckState(StrEnum):
    """The result of a scheduled check, which its process tells by an exit code."""

    DONE = "done"
    NO_DATA = "no_data"
    NOT_INSTALLED = "not_installed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    BUSY = "busy"

    @property
    def exit_code(self) -> int:
        """0 when done; never 1, which is Python's own for a bug, nor 2, which is a wrong command line."""
        return 0 if self is CheckState.DONE else 10 + list(CheckState).index(self)

    @classmethod
    def of_exit(cls, code: int) -> "CheckState":
        """The state behind an exit code; any that is not ours is a failure."""
        return {state.exit_code: state for state in cls}.get(code, cls.FAILED)
