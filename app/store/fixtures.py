"""The fixtures (two teams in a tournament of a region) a reader asks for; they are far fewer than matches."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.store.lake import Connection, columns
from app.store.literal import bitstring
from app.store.selection import Condition, Selection

Numbers = npt.NDArray[np.int64]

_ONE_BY_ONE = "SELECT fixture_no AS first, fixture_no AS last, n_matches, n_fixtures FROM fixtures WHERE {}"
_BY_PLACE = "SELECT first_no AS first, last_no AS last, n_matches, n_fixtures FROM places WHERE {}"
_BY_INDEX = "fixture_no IN ({})"  # which DuckDB asks for numbers written out, and for so few rows
_INDEXED_ROWS = 2048  # `index_scan_max_count`
_INDEXED_FIXTURES = 256  # each number written out takes 20 us to plan
# a bit for each fixture, looked up by its number: a join with the numbers takes four times as long
_BY_BIT = "get_bit(?::BIT, fixture_no) = 1"


@dataclass(frozen=True, slots=True)
class Fixtures:
    """Fixtures by their numbers, all of which are from 1 to `last`, and how many matches they have between them."""

    numbers: Numbers
    n_matches: int
    last: int

    @property
    def are_indexed(self) -> bool:
        """Whether they are so few that the index of `cards` finds their matches."""
        return 0 < self.n_matches <= _INDEXED_ROWS and len(self.numbers) <= _INDEXED_FIXTURES

    def condition(self) -> Condition:
        """That a card is of one of them."""
        if not len(self.numbers):
            return "false", []
        if self.are_indexed:
            return _BY_INDEX.format(", ".join(map(str, self.numbers.tolist()))), []
        return _BY_BIT, [bitstring(self.numbers, self.last + 1)]


def asked(cursor: Connection, selection: Selection) -> Fixtures | None:
    """The fixtures of a selection; None when it asks for none in particular."""
    condition = selection.of_fixture()
    if condition is None:
        return None
    where, params = condition
    found = columns(cursor, (_ONE_BY_ONE if selection.text else _BY_PLACE).format(where), params)
    numbers = _numbers(found["first"], found["last"])
    return Fixtures(numbers, int(found["n_matches"].sum()), int(found["n_fixtures"].max(initial=0)))


def _numbers(first: Numbers, last: Numbers) -> Numbers:
    """All numbers of these ranges, (n,) each, both ends included."""
    sizes = last - first + 1
    before = np.cumsum(sizes) - sizes
    numbers: Numbers = np.arange(sizes.sum()) + np.repeat(first - before, sizes)
    return numbers


def where(cursor: Connection, selection: Selection) -> Condition:
    """What a selection asks of `cards`, its fixtures looked up once."""
    found = asked(cursor, selection)
    return selection.where(None if found is None else found.condition())
