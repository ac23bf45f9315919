"""Tell triples of 1X2 prices: what counts as one, what is missing, and what is a typing error."""

from collections.abc import Sequence
from functools import lru_cache

from app.domain.prices import CONTRADICTION

Triple = tuple[float, float, float]
Columns = tuple[int, int, int]
NO_PRICES = (None, None, None)
LOWEST_BOOK, HIGHEST_BOOK = 0.95, 1.35  # sums of inverses outside are typing errors or placeholders of thin markets
HIGHEST_PRICE = 1001.0  # no bookmaker offers more on one of three outcomes
_LOWEST_RATIO = 1 / CONTRADICTION

BAD_TRIPLE = "bad_odds_triple"
PARTIAL_TRIPLE = "partial_odds_triple"
_NOTHING = frozenset({"", "0", "0.0", "0.00", "-", "--", "na", "n/a", "nan", "none", "null", "#n/a"})


@lru_cache(maxsize=65_536)
def parse_price(text: str) -> float | None:
    """Return a decimal price; None for an empty cell or a word that says so, NaN for what is no number."""
    text = text.strip()
    if text.lower() in _NOTHING:
        return None
    try:
        # in files separated by commas no cell can hold one
        return float(text.replace(",", ".", 1))
    except ValueError:
        return float("nan")


def parse_triple(cells: Sequence[str], columns: Columns) -> tuple[Triple | None, str | None]:
    """Return home, draw and away price of a row or nothing, and what was wrong."""
    home, draw, away = parse_price(cells[columns[0]]), parse_price(cells[columns[1]]), parse_price(cells[columns[2]])
    if home is None and draw is None and away is None:
        return None, None
    if home is None or draw is None or away is None:
        has_zero = any(cells[column].strip().startswith("0") for column in columns)
        return None, BAD_TRIPLE if has_zero else PARTIAL_TRIPLE
    if not is_book(home, draw, away):
        return None, BAD_TRIPLE
    return (home, draw, away), None


def is_book(home: float, draw: float, away: float) -> bool:
    """Whether three prices can be one bookmaker's offer on one match."""
    if not (1 < home <= HIGHEST_PRICE and 1 < draw <= HIGHEST_PRICE and 1 < away <= HIGHEST_PRICE):
        return False
    return LOWEST_BOOK <= 1 / home + 1 / draw + 1 / away <= HIGHEST_BOOK


def contradicts(prices: Triple, others: Triple) -> bool:
    """Whether a book cannot be of the same match as another: a price is half as long again, or more."""
    (home, draw, away), (other_home, other_draw, other_away) = prices, others
    return not (
        _LOWEST_RATIO <= home / other_home <= CONTRADICTION
        and _LOWEST_RATIO <= draw / other_draw <= CONTRADICTION
        and _LOWEST_RATIO <= away / other_away <= CONTRADICTION
    )
