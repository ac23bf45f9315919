"""Say which column holds what: the publisher's two layouts, in any order, by name and never by position."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.domain.prices import BETFAIR_EXCHANGE, MARKET_AVERAGE, MARKET_BEST
from worker.pipeline.ingest.price_triples import Columns

# our name -> the headers it goes by, in lower case; the first that is there wins
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "division": ("div", "division"),
    "country": ("country",),
    "league": ("league",),
    "season": ("season",),
    "date": ("date",),
    "time": ("time",),
    "home_team": ("hometeam", "home", "ht", "home team", "home_team"),
    "away_team": ("awayteam", "away", "at", "away team", "away_team"),
    "home_score": ("fthg", "hg"),
    "away_score": ("ftag", "ag"),
    "result": ("ftr", "res"),
    "half_home": ("hthg",),
    "half_away": ("htag",),
    "referee": ("referee",),
    "neutral": ("neutral",),
    "extra_time": ("aet",),
    "penalties": ("pens", "penalties"),
    "note": ("note", "notes", "comment", "comments", "status"),
}
# bookmakers whose codes we know; a code that is not here is a bookmaker all the same, and goes by it
BOOKMAKERS: Mapping[str, str] = {
    "b365": "Bet365",
    "ps": "Pinnacle",
    "wh": "William Hill",
    "bw": "bwin",
    "iw": "Interwetten",
    "lb": "Ladbrokes",
    "vc": "VC Bet",
    "gb": "Gamebookers",
    "sb": "Sportingbet",
    "sj": "Stan James",
    "sy": "Stanleybet",
    "so": "Sporting Odds",
    "bs": "Blue Square",
    "1xb": "1xBet",
    "bfd": "Betfair",
    "bfe": BETFAIR_EXCHANGE,
    "bmgm": "BetMGM",
    "bv": "BetVictor",
    "cl": "Coral",
    "pp": "Paddy Power",
    "skb": "Sky Bet",
    "avg": MARKET_AVERAGE,
    "max": MARKET_BEST,
}
# other codes of the same
_OTHER_CODES = {"bbav": "avg", "bbmx": "max", "p": "ps", "vj": "vc", "bf": "bfd"}
# neither is the book of anyone: of the market's best prices each comes from another bookmaker
_MARKET = frozenset({"avg", "max"})
_COUNTS = ("hthg", "htag", "hs", "as", "hst", "ast", "hf", "af", "hc", "ac", "hy", "ay", "hr", "ar", "ho", "ao")
_NEEDED = ("date", "home_team", "away_team")
_UNNAMED = re.compile(r"(unnamed: \d+)?$")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the columns of one header are; a column that the header lacks is absent.

    `triples` are the prices of each book by its key (`book_key`), `offers` the pre-match prices of all bookmakers.
    """

    fields: Mapping[str, int]
    triples: Mapping[str, Columns]
    offers: tuple[Columns, ...]
    counts: tuple[int, ...]
    unnamed: tuple[int, ...]
    n_named: int  # columns up to the last that has a name
    n_columns: int


def missing_columns(header: Sequence[str]) -> list[str]:
    """Return what a row lacks to be a header."""
    names = {cell.strip().lower() for cell in header}
    missing = [] if names & {"div", "division", "country"} else ["Div or Country"]
    labels = {"date": "Date", "home_team": "HomeTeam or Home", "away_team": "AwayTeam or Away"}
    return missing + [labels[field] for field in _NEEDED if names.isdisjoint(_FIELDS[field])]


def identify_layout(header: Sequence[str]) -> Layout:
    """Return the layout of a header without missing columns."""
    names = [cell.strip().lower() for cell in header]
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        if not _UNNAMED.match(name):
            positions.setdefault(name, position)  # a repeated name: the first column is the publisher's own
    fields = {field: positions[name] for field, name in _first_names(positions)}
    triples: dict[str, Columns] = {}
    prefixes = _find_books(positions)
    for prefix, columns in prefixes.items():
        triples.setdefault(book_key(prefix, prefixes), columns)
    return Layout(
        fields=fields,
        triples=triples,
        offers=tuple(columns for key, columns in triples.items() if not is_closing(key) and key not in _MARKET),
        counts=tuple(positions[name] for name in _COUNTS if name in positions),
        unnamed=tuple(position for position, name in enumerate(names) if _UNNAMED.match(name)),
        n_named=max(positions.values()) + 1,
        n_columns=len(names),
    )


def book_key(prefix: str, prefixes: Collection[str]) -> str:
    """Return the key of a book: its code in lower case, with a `c` behind it for closing prices.

    Closing is a prefix that ends in `c` and is otherwise that of a book of the header or one we know, and every such
    prefix of a header without pre-match prices: the price of kick-off must never pass for one from before. The code of
    a bookmaker that ends in `c` itself is written in capitals.
    """
    is_known = prefix in BOOKMAKERS or prefix in _OTHER_CODES
    code = prefix if is_known else prefix.removesuffix("c")
    has_offers = any(not each.endswith("c") for each in prefixes)
    if code != prefix and (code in prefixes or code in BOOKMAKERS or code in _OTHER_CODES or not has_offers):
        return _OTHER_CODES.get(code, code) + "c"
    code = _OTHER_CODES.get(prefix, prefix)
    return code.upper() if code.endswith("c") else code


def is_closing(key: str) -> bool:
    """Whether a book's key is that of closing prices."""
    return key.endswith("c")


def bookmaker_name(key: str) -> str:
    """Return the bookmaker of a book's key."""
    code = key.removesuffix("c")
    return BOOKMAKERS.get(code.lower(), code.upper())


def _first_names(positions: Mapping[str, int]) -> list[tuple[str, str]]:
    first = ((field, next((name for name in names if name in positions), None)) for field, names in _FIELDS.items())
    return [(field, name) for field, name in first if name is not None]


def _find_books(positions: Mapping[str, int]) -> dict[str, Columns]:
    books: dict[str, Columns] = {}
    for name, home in positions.items():
        prefix = name[:-1]
        if len(name) > 1 and name.endswith("h") and prefix + "d" in positions and prefix + "a" in positions:
            books[prefix] = (home, positions[prefix + "d"], positions[prefix + "a"])
    return books
