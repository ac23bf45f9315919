"""Which matches a reader asks for, as a SQL condition, and the fixtures that text and filters select."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from app.store.database import Connection, fetch_columns, to_bitstring, to_sql

# what a fixture (two teams in a tournament of a region) tells; there are far fewer of them than matches
_OF_FIXTURE = (
    ("region", "region IN ({})"),
    ("tournament", "tournament IN ({})"),
    ("text", "contains(search_text, strip_accents(lower({})))"),
)
_OF_MATCH = (
    ("status", "status IN ({})"),
    ("since", "kickoff_utc >= {}"),
    ("until", "kickoff_utc < {}"),
    ("min_edge", "best_edge >= {}"),
    ("min_region_roi", "region_roi_pct >= {}"),
)
_SEARCH_TEXT = "strip_accents(lower(concat_ws(' ', home_team, away_team, tournament, region)))"

Condition = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter over cards; a field that is None or empty asks nothing.

    Any of several regions, tournaments or statuses; `since` is inclusive, `until` exclusive, `text` part of a team,
    tournament or region.
    """

    region: tuple[str, ...] = ()
    tournament: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_edge: float | None = None
    min_region_roi: float | None = None
    text: str | None = None
    value_only: bool = False

    def where(self, of_fixture: Condition | None) -> Condition:
        """What is asked of a match, and of its fixture what is given here, with the parameters of both."""
        conditions, params = self.of_match()
        fixture, more = of_fixture or ("true", [])
        return " AND ".join([*conditions, fixture]), [*params, *more]

    def of_match(self) -> tuple[list[str], list[Any]]:
        """The conditions that need the match itself, with their parameters."""
        conditions, params = self._asked(_OF_MATCH)
        return [*conditions, *(["is_value"] if self.value_only else [])], params

    def of_fixture(self) -> Condition | None:
        """What is asked of a row of `fixtures` (without a text: of `places`) and the parameters; None for nothing."""
        conditions, params = self._asked(_OF_FIXTURE)
        return (" AND ".join(conditions), params) if conditions else None

    def to_sql(self) -> str:
        """The condition on `cards` alone with its values written into it, for people to read and to run elsewhere."""
        of_match, params = self.of_match()
        of_fixture, more = self._asked(_OF_FIXTURE)
        condition = " AND ".join([*of_match, *of_fixture]) or "true"
        # the marks first, as a value may hold one too
        pieces = condition.replace("search_text", _SEARCH_TEXT).split("?")
        values = [to_sql(value) for value in (*params, *more)]
        return "".join(piece + value for piece, value in zip(pieces, [*values, ""], strict=True))

    def _asked(self, conditions: tuple[tuple[str, str], ...]) -> tuple[list[str], list[Any]]:
        asked: list[str] = []
        params: list[Any] = []
        for name, sql in conditions:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else () if value in {None, ""} else (value,)
            if values:
                asked.append(sql.format(", ".join("?" * len(values))))
                params += values
        return asked, params


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
        return _BY_BIT, [to_bitstring(self.numbers, self.last + 1)]


def find_fixtures(cursor: Connection, selection: Selection) -> Fixtures | None:
    """The fixtures of a selection; None when it asks for none in particular."""
    condition = selection.of_fixture()
    if condition is None:
        return None
    where, params = condition
    found = fetch_columns(cursor, (_ONE_BY_ONE if selection.text else _BY_PLACE).format(where), params)
    numbers = _numbers(found["first"], found["last"])
    return Fixtures(numbers, int(found["n_matches"].sum()), int(found["n_fixtures"].max(initial=0)))


def _numbers(first: Numbers, last: Numbers) -> Numbers:
    """All numbers of these ranges, (n,) each, both ends included."""
    sizes = last - first + 1
    before = np.cumsum(sizes) - sizes
    numbers: Numbers = np.arange(sizes.sum()) + np.repeat(first - before, sizes)
    return numbers


def fixtures_condition(cursor: Connection, selection: Selection) -> Condition:
    """What a selection asks of `cards`, its fixtures looked up once."""
    found = find_fixtures(cursor, selection)
    return selection.where(None if found is None else found.condition())
