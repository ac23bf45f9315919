"""Say which column holds what: the publisher's two layouts, in any order, by name and never by position."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "b365": ("b365",),
    "b365c": ("b365c",),
    "avg": ("avg", "bbav"),
    "avgc": ("avgc",),
    "psc": ("psc",),
}
# of the market's best prices one comes from each bookmaker, so they are no single book
_BEST_PRICES = ("max", "bbmx")
_COUNTS = ("hthg", "htag", "hs", "as", "hst", "ast", "hf", "af", "hc", "ac", "hy", "ay", "hr", "ar", "ho", "ao")
_NEEDED = ("date", "home_team", "away_team")
_UNNAMED = re.compile(r"(unnamed: \d+)?$")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the columns of one header are; a column that the header lacks is absent.

    `triples` are the prices we keep, `offers` the pre-match prices of all bookmakers, `books` every triple there is.
    """

    fields: Mapping[str, int]
    triples: Mapping[str, Columns]
    offers: tuple[Columns, ...]
    books: tuple[Columns, ...]
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
    books = _find_books(positions)
    kept = {
        book: next((books[prefix] for prefix in prefixes if prefix in books), None)
        for book, prefixes in _PREFIXES.items()
    }
    closing = {prefix for prefix in books if prefix.endswith("c") and prefix[:-1] in {*books, "ps", "avg", "max"}}
    market = {*_BEST_PRICES, "avg", "bbav"}
    return Layout(
        fields=fields,
        triples={book: columns for book, columns in kept.items() if columns is not None},
        offers=tuple(columns for prefix, columns in books.items() if prefix not in closing | market),
        books=tuple(books.values()),
        counts=tuple(positions[name] for name in _COUNTS if name in positions),
        unnamed=tuple(position for position, name in enumerate(names) if _UNNAMED.match(name)),
        n_named=max(positions.values()) + 1,
        n_columns=len(names),
    )


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
