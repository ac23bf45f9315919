"""The prices of several bookmakers on the same matches: which can be true, which can be taken, and the best of them.

Prices are rows: `odds` float64 (n, 3) in the order home, draw, away, `match` int64 (n,) the place of each row's match,
rising, among `n_matches`. A price is an offer from before the match, or closing; functions here take rows of one kind.
"""

import numpy as np
import numpy.typing as npt

from app.domain.odds import implied_probabilities
from app.domain.outcomes import Flags, Floats

MARKET_AVERAGE = "market average"
MARKET_BEST = "market best"  # the best price of any bookmaker, which one is not told
BETFAIR_EXCHANGE = "Betfair Exchange"
# nobody takes bets at an average, at a price whose bookmaker is unknown, or at an exchange without its commission
NOT_TAKEN = frozenset({MARKET_AVERAGE, MARKET_BEST, BETFAIR_EXCHANGE})
CONTRADICTION = 1.5  # times a price may stand off from the others' of the same match
MIN_OTHERS = 3  # two books that disagree do not say which of them is wrong

Places = npt.NDArray[np.int64]


def sound(odds: Floats, match: Places, n_matches: int, is_average: Flags) -> Flags:
    """Whether each price can be of its match, (n,): no bookmaker's is half as long again as the middle of all.

    The middle is the median of the match's prices, where at least three others stand beside one, else the market's
    average; a price that nothing is known to stand against counts as sound. No price at all is not sound.
    """
    return stands_with(odds, middle(odds, match, n_matches, is_average)[match])


def middle(odds: Floats, match: Places, n_matches: int, is_average: Flags) -> Floats:
    """What the prices of each match are compared with, (n_matches, 3), see `sound`; NaN where nothing is."""
    whole = _is_whole(odds)
    counts = np.bincount(match[whole], minlength=n_matches)
    medians = np.where((counts > MIN_OTHERS)[:, None], _medians(odds[whole], match[whole], n_matches), np.nan)
    averages = np.full((n_matches, 3), np.nan)
    averages[match[is_average & whole]] = odds[is_average & whole]
    return np.where(np.isnan(medians), averages, medians)


def stands_with(odds: Floats, others: Floats) -> Flags:
    """Whether prices (n, 3) are whole and none is half as long again as the others', or less than two thirds of it."""
    ratio = odds / others
    far = (ratio > CONTRADICTION) | (ratio < 1 / CONTRADICTION)
    return np.asarray(_is_whole(odds) & ~far.any(axis=1), dtype=np.bool_)


def _is_whole(odds: Floats) -> Flags:
    return np.asarray(~np.isnan(implied_probabilities(odds)[:, 0]), dtype=np.bool_)


def _medians(odds: Floats, match: Places, n_matches: int) -> Floats:
    counts, column = _columns(match, n_matches)
    medians = np.full((n_matches, odds.shape[1]), np.nan)
    known = np.flatnonzero(counts)
    low, high = (counts[known] - 1) // 2, counts[known] // 2
    for side in range(odds.shape[1]):
        # a row a match, empty places last: sorting many short rows is four times as fast as one long one
        ranked = np.full((n_matches, int(counts.max(initial=1))), np.inf)
        ranked[match, column] = odds[:, side]
        ranked.sort(axis=1)
        medians[known, side] = (ranked[known, low] + ranked[known, high]) / 2
    return medians


def _columns(match: Places, n_matches: int) -> tuple[Places, Places]:
    """Return how many rows each match has, (n_matches,), and the how-manieth of its match each row is, (n,)."""
    counts = np.bincount(match, minlength=n_matches)
    start = np.cumsum(counts) - counts
    return counts, np.arange(len(match)) - start[match]


def best(odds: Floats, match: Places, n_matches: int, may_take: Flags) -> tuple[Floats, Places]:
    """The highest price of each outcome, (n_matches, 3), and its row, NaN and -1 where no price may be taken.

    Of two equal prices the earlier row's counts.
    """
    prices = np.full((n_matches, 3), np.nan)
    rows = np.full((n_matches, 3), -1, dtype=np.int64)
    taken = np.flatnonzero(may_take)
    counts, column = _columns(match[taken], n_matches)
    start = np.cumsum(counts) - counts
    known = np.flatnonzero(counts)
    for side in range(3):
        table = np.full((n_matches, int(counts.max(initial=1))), -np.inf)
        table[match[taken], column] = odds[taken, side]
        at = table.argmax(axis=1)[known]  # of equals the first
        rows[known, side] = taken[start[known] + at]
        prices[known, side] = table[known, at]
    return prices, rows
