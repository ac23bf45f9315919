"""Triples of 1X2 prices: what counts as one, and what is a typing error."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite

Triple = tuple[float, float, float]
NO_PRICES = (None, None, None)
LOWEST_BOOK, HIGHEST_BOOK = 0.95, 1.35  # sums of inverses outside are typing errors or placeholders of thin markets

BAD_TRIPLE = "bad_odds_triple"
PARTIAL_TRIPLE = "partial_odds_triple"


@lru_cache(maxsize=65_536)
def parse_price(text: str) -> float | None:
    """A decimal price; None for an empty cell, NaN for one that is no number."""
    text = text.strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        return float("nan")


def parse_triple(cells: Sequence[str], causes: Counter[str]) -> Triple | None:
    """Home, draw and away price, or nothing; what was wrong is counted in `causes`."""
    home, draw, away = (parse_price(cell) for cell in cells)
    if home is None and draw is None and away is None:
        return None
    if home is None or draw is None or away is None:
        causes[PARTIAL_TRIPLE] += 1
        return None
    if not is_book(home, draw, away):
        causes[BAD_TRIPLE] += 1
        return None
    return home, draw, away


def is_book(home: float, draw: float, away: float) -> bool:
    """Whether three prices can be one bookmaker's offer on one match."""
    if not (isfinite(home) and isfinite(draw) and isfinite(away)) or min(home, draw, away) <= 1:
        return False
    return LOWEST_BOOK <= 1 / home + 1 / draw + 1 / away <= HIGHEST_BOOK
