"""Find how the cells of a row belong under its header, when it has more or fewer than the header has columns.

A comma in a name makes one cell too many, a lost cell one too few, and every price behind it moves. The cells are taken
as they stand when all of them fit: numbers where counts stand, a result that agrees with the goals, whole prices that
agree with one another. Otherwise they are moved only if every alignment that fits says the same.
"""

import re
from collections.abc import Iterator, Sequence
from statistics import median

from worker.pipeline.ingest.dates import parse_date, parse_time
from worker.pipeline.ingest.layouts import Layout
from worker.pipeline.ingest.price_triples import Columns, Triple, contradicts, parse_triple

_WIDEST_GAP = 3  # cells: more than a name with three commas is another file
_TEXTS = ("home_team", "away_team", "referee", "league", "note")
_NUMBER = re.compile(r"\s*-?\d+(\.\d+)?\s*$")
_LETTERS = {"H": 1, "D": 0, "A": -1}

Cells = list[str]


def align_row(layout: Layout, cells: Cells, separator: str) -> tuple[Cells | None, str | None]:
    """Return the cells under the header's columns, and what was repaired; no cells when no alignment is certain."""
    n_cells = len(cells)
    excess = any(cell.strip() for cell in cells[layout.n_columns :])
    if not excess and n_cells >= layout.n_named:
        return cells, None
    padded = cells + [""] * (layout.n_columns - n_cells)
    repair = "ragged_row_long" if excess else "ragged_row_short"
    # numbers under no name are the halves of decimal commas, unless several books agree that all stands in its place
    is_certain = not any(_NUMBER.match(cell) for cell in cells[layout.n_columns :]) or _books_agree(layout, padded)
    if is_certain and _fits(layout, padded):
        return padded, repair
    candidates = _merge(layout, cells, separator) if excess else _insert(layout, cells)
    fitting = [candidate for candidate in candidates if _fits(layout, candidate)]
    if fitting and all(_say(layout, each) == _say(layout, fitting[0]) for each in fitting[1:]):
        return fitting[0], "row_realigned"
    # without clubs or a date it is no match, wherever its other cells belong; that cause says more
    return (None, None) if _has_match(layout, padded) else (padded, None)


def _merge(layout: Layout, cells: Cells, separator: str) -> Iterator[Cells]:
    """Yield the row with neighbouring cells of a text put together again."""
    filled = len(cells)
    while not cells[filled - 1].strip():
        filled -= 1
    for gap in sorted({len(cells) - layout.n_columns, filled - layout.n_named}):
        for name in _TEXTS if 0 < gap <= _WIDEST_GAP else ():
            place = layout.fields.get(name)
            if place is not None:
                joined = separator.join(cells[place : place + gap + 1])
                merged = [*cells[:place], joined, *cells[place + gap + 1 :]]
                yield merged + [""] * (layout.n_columns - len(merged))


def _insert(layout: Layout, cells: Cells) -> Iterator[Cells]:
    """Yield the row with as many empty cells as it lacks at any one place."""
    for gap in sorted({layout.n_columns - len(cells), layout.n_named - len(cells)}):
        for place in range(len(cells)) if 0 < gap <= _WIDEST_GAP else ():
            moved = [*cells[:place], *[""] * gap, *cells[place:]]
            yield moved + [""] * (layout.n_columns - len(moved))


def _say(layout: Layout, cells: Cells) -> list[str]:
    places = [*layout.fields.values(), *(place for columns in layout.triples.values() for place in columns)]
    return [cells[place].strip() for place in places]


def _fits(layout: Layout, cells: Cells) -> bool:
    return _teams_fit(layout, cells) and _result_fits(layout, cells) and _prices_fit(layout, cells)


def _cell(layout: Layout, cells: Cells, name: str) -> str:
    place = layout.fields.get(name)
    return "" if place is None else cells[place].strip()


def _has_match(layout: Layout, cells: Cells) -> bool:
    day = _cell(layout, cells, "date")
    has_day = parse_date(day, "dmy") is not None or parse_date(day, "mdy") is not None
    return has_day and bool(_cell(layout, cells, "home_team") and _cell(layout, cells, "away_team"))


def _teams_fit(layout: Layout, cells: Cells) -> bool:
    names = _cell(layout, cells, "home_team"), _cell(layout, cells, "away_team")
    if not _has_match(layout, cells) or any(_NUMBER.match(name) or parse_time(name)[0] for name in names):
        return False
    at = _cell(layout, cells, "time")
    return (not at or parse_time(at)[0] is not None) and not _NUMBER.match(_cell(layout, cells, "referee"))


def _result_fits(layout: Layout, cells: Cells) -> bool:
    goals = _cell(layout, cells, "home_score"), _cell(layout, cells, "away_score")
    letter = _cell(layout, cells, "result").upper()
    if any(goals):
        if not all(goal.isdigit() and len(goal) < 3 for goal in goals):
            return False
        difference = int(goals[0]) - int(goals[1])
        if letter in _LETTERS and _LETTERS[letter] != (difference > 0) - (difference < 0):
            return False
    elif letter in _LETTERS:
        return False
    if _NUMBER.match(letter):
        return False
    return all(not (text := cells[place].strip()) or text.isdigit() for place in layout.counts)


def _books_agree(layout: Layout, cells: Cells) -> bool:
    books = list(read_offers(list(layout.triples.values()), cells))
    return len(books) > 1 and not any(contradicts(book, middle_offer(books)) for book in books)


def _prices_fit(layout: Layout, cells: Cells) -> bool:
    for columns in layout.triples.values():
        if parse_triple(cells, columns)[1] is not None:
            return False
    offers = list(read_offers(layout.offers, cells))
    if len(offers) < 2:
        return True
    middle = middle_offer(offers)
    return not any(contradicts(offer, middle) for offer in offers)


def read_offers(columns: Sequence[Columns], cells: Sequence[str]) -> Iterator[Triple]:
    """Yield the whole prices of each bookmaker of a row."""
    for book in columns:
        triple, _ = parse_triple(cells, book)
        if triple is not None:
            yield triple


def middle_offer(offers: Sequence[Triple]) -> Triple:
    """Return the median price of each outcome."""
    home, draw, away = (median(offer[side] for offer in offers) for side in range(3))
    return home, draw, away
