"""Which matches a reader asks for, as a condition of SQL with its parameters bound."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.store.literal import literal

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
_FIXTURES = "fixture_no IN (SELECT fixture_no FROM fixtures WHERE {})"
_NUMBERS = "SELECT fixture_no, n_matches FROM fixtures WHERE {} LIMIT {:d}"
_BY_NUMBER = "fixture_no IN (SELECT unnest(?::INTEGER[]))"
_BY_INDEX = "fixture_no IN ({})"  # which DuckDB asks for numbers written out, and for so few rows
_INDEXED_ROWS = 2048  # `index_scan_max_count`

Condition = tuple[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Fixtures:
    """Fixtures by their numbers, and how many matches they have between them."""

    numbers: Sequence[int]
    n_matches: int

    @property
    def are_indexed(self) -> bool:
        """Whether `cards` has so few of them that its index finds them."""
        return 0 < self.n_matches <= _INDEXED_ROWS

    def condition(self) -> Condition:
        """That a card is of one of them."""
        if self.are_indexed:
            return _BY_INDEX.format(", ".join(f"{number:d}" for number in self.numbers)), []
        return _BY_NUMBER, [list(self.numbers)]


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

    def where(self, known: Fixtures | None = None) -> Condition:
        """The condition and its parameters; the fixtures asked for by their numbers where those are known."""
        of_match, params = self._asked(_OF_MATCH)
        of_fixture, more = self._asked(_OF_FIXTURE)
        fixtures = [_FIXTURES.format(" AND ".join(of_fixture))] if of_fixture else []
        if known is not None:
            by_number, more = known.condition()
            fixtures = [by_number]
        value = ["is_value"] if self.value_only else []
        return " AND ".join(["true", *of_match, *value, *fixtures]), [*params, *more]

    def fixtures(self, limit: int) -> Condition | None:
        """The query for number and matches of each fixture with a text, with its parameters; None without one."""
        of_fixture, params = self._asked(_OF_FIXTURE)
        return (_NUMBERS.format(" AND ".join(of_fixture), limit), params) if self.text else None

    def written(self) -> str:
        """The condition on `cards` alone with its values written into it, for people to read and to run elsewhere."""
        of_match, params = self._asked(_OF_MATCH)
        of_fixture, more = self._asked(_OF_FIXTURE)
        condition = " AND ".join([*of_match, *(["is_value"] if self.value_only else []), *of_fixture]) or "true"
        # the marks first, as a value may hold one too
        pieces = condition.replace("search_text", _SEARCH_TEXT).split("?")
        values = [literal(value) for value in (*params, *more)]
        return "".join(piece + value for piece, value in zip(pieces, [*values, ""], strict=True))

    def _asked(self, conditions: tuple[tuple[str, str], ...]) -> tuple[list[str], list[Any]]:
        asked: list[str] = []
        params: list[Any] = []
        for name, sql in conditions:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else () if value is None else (value,)
            if values:
                asked.append(sql.format(", ".join("?" * len(values))))
                params += values
        return asked, params
