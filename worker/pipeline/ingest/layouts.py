"""Say which column holds what: the publisher's two layouts, in any order, by name and never by position."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.domain.prices import BETFAIR_EXCHANGE, MARKET_AVERAGE, MARKET_BEST
from worker.pipeline.ingest.price_triples import Columns

# our name -> the headers it goes by, in lower case without spaces and signs; the first that is there wins
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "division": ("div", "division"),
    "country": ("country",),
    "league": ("league",),
    "season": ("season",),
    "date": ("date", "matchdate"),
    "time": ("time", "kickoff", "kickofftime", "ko", "kotime", "matchtime"),
    "home_team": ("hometeam", "home", "ht", "hometeamname"),
    "away_team": ("awayteam", "away", "at", "awayteamname"),
    "home_score": ("fthg", "hg", "homegoals", "homescore", "hometeamgoals", "hometeamscore", "fthomegoals"),
    "away_score": ("ftag", "ag", "awaygoals", "awayscore", "awayteamgoals", "awayteamscore", "ftawaygoals"),
    "score": ("score", "ft", "ftscore", "fulltime", "fulltimescore", "finalscore"),
    "result": ("ftr", "res", "result", "fulltimeresult"),
    "half_home": ("hthg",),
    "half_away": ("htag",),
    "referee": ("referee",),
    "neutral": ("neutral",),
    "extra_time": ("aet", "extratime"),
    "penalties": ("pens", "penalties"),
    "note": ("note", "notes", "comment", "comments", "status"),
}
_SIGNS = re.compile(r"[\s_.\-]+")
_BLANKS = " \t\u00a0\ufeff\"'"
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
    repeated: frozenset[str]  # names of more than one column
    n_named: int  # columns up to the last that has a name
    n_columns: int


def missing_columns(header: Sequence[str]) -> list[str]:
    """Return what a row lacks to be a header."""
    names = {_plain(cell.strip(_BLANKS).lower()) for cell in header}
    missing = [] if names & {"div", "division", "country"} else ["Div or Country"]
    labels = {"date": "Date", "home_team": "HomeTeam or Home", "away_team": "AwayTeam or Away"}
    return missing + [labels[field] for field in _NEEDED if names.isdisjoint(_FIELDS[field])]


def _plain(name: str) -> str:
    """Return `hometeam` for `home_team`, `home team` and `home.team`."""
    return name if name.isalnum() else _SIGNS.sub("", name)


def identify_layout(header: Sequence[str]) -> Layout:
    """Return the layout of a header without missing columns."""
    names = [cell.strip().lower() for cell in header]
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        if not _UNNAMED.match(name):
            positions.setdefault(name, position)  # a repeated name: the first column is the publisher's own
    fields = dict(_find_fields(positions))
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
        repeated=frozenset(name for name, n in Counter(names).items() if n > 1 and not _UNNAMED.match(name)),
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


def _find_fields(positions: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    plain: dict[str, int] = {}
    for name, position in positions.items():
        plain.setdefault(_plain(name), position)
    for field, names in _FIELDS.items():
        place = next((plain[name] for name in names if name in plain), None)
        if place is not None:
            yield field, place


def _find_books(positions: Mapping[str, int]) -> dict[str, Columns]:
    books: dict[str, Columns] = {}
    for name, home in positions.items():
        prefix = name[:-1]
        if len(name) > 1 and name.endswith("h") and prefix + "d" in positions and prefix + "a" in positions:
            books[prefix] = (home, positions[prefix + "d"], positions[prefix + "a"])
    return books
