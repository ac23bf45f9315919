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
    counts = np.bincount(match, minlength=n_matches)
    start = np.cumsum(counts) - counts
    low, high = start + np.maximum(counts - 1, 0) // 2, start + counts // 2
    medians = np.full((n_matches, odds.shape[1]), np.nan)
    known = counts > 0
    for side in range(odds.shape[1]):
        ranked = odds[np.lexsort((odds[:, side], match)), side]
        medians[known, side] = (ranked[low[known]] + ranked[high[known]]) / 2
    return medians


def best(odds: Floats, match: Places, n_matches: int, may_take: Flags) -> tuple[Floats, Places]:
    """The highest price of each outcome, (n_matches, 3), and its row, NaN and -1 where no price may be taken.

    Of two equal prices the earlier row's counts.
    """
    prices = np.full((n_matches, 3), np.nan)
    rows = np.full((n_matches, 3), -1, dtype=np.int64)
    taken = np.flatnonzero(may_take)
    for side in range(3):
        # stable: the last of each match in this order is its highest, the earliest row among equals
        order = taken[::-1][np.lexsort((odds[taken[::-1], side], match[taken[::-1]]))]
        last = np.flatnonzero(np.diff(match[order], append=-1))
        rows[match[order[last]], side] = order[last]
    known = rows >= 0
    prices[known] = odds[rows[known], np.nonzero(known)[1]]
    return prices, rows
