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


class Verdict(StrEnum):
    """What an operator should think of a report."""

    STABLE = "stable"
    MODERATE = "moderate"
    SEVERE = "severe"
    NO_DATA = "no data"


class ReportState(StrEnum):
    """What came of a comparison."""

    COMPARED = "compared"
    NO_REFERENCE = "no reference"
    NO_CURRENT = "no current matches"
    NOTHING_COMPARABLE = "nothing comparable"
    TOO_FEW_ROWS = "too few rows"


class FeatureState(StrEnum):
    """What came of one feature."""

    COMPARED = "compared"
    CONSTANT = "constant"
    NEVER_KNOWN = "no values at all"
    UNKNOWN_BEFORE = "no values in the reference"
    UNKNOWN_NOW = "no values now"
    TOO_FEW = "too few values"
    NEW = "new"
    VANISHED = "vanished"
    FAILED = "could not be compared"


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
