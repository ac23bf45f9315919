"""Which matches a reader asks for, as a condition of SQL with its parameters bound."""

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

    def written(self) -> str:
        """The condition on `cards` alone with its values written into it, for people to read and to run elsewhere."""
        of_match, params = self.of_match()
        of_fixture, more = self._asked(_OF_FIXTURE)
        condition = " AND ".join([*of_match, *of_fixture]) or "true"
        # the marks first, as a value may hold one too
        pieces = condition.replace("search_text", _SEARCH_TEXT).split("?")
        values = [literal(value) for value in (*params, *more)]
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
