"""Which matches a reader asks for, as a condition of SQL with its parameters bound."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

# column, comparison and the field that fills it; a field that is None asks nothing
_CONDITIONS = (
    ("region", "region = ?"),
    ("tournament", "tournament = ?"),
    ("status", "status = ?"),
    ("since", "kickoff_utc >= ?"),
    ("until", "kickoff_utc < ?"),
    ("min_edge", "best_edge >= ?"),
    ("min_region_roi", "region_roi_pct >= ?"),
    ("text", "contains(search_text, strip_accents(lower(?)))"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter over cards; `since` is inclusive, `until` exclusive, `text` part of a team, tournament or region."""

    region: str | None = None
    tournament: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_edge: float | None = None
    min_region_roi: float | None = None
    text: str | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition and its parameters."""
        asked = [(sql, getattr(self, field)) for field, sql in _CONDITIONS]
        used = [(sql, value) for sql, value in asked if value is not None]
        return " AND ".join(["true", *(sql for sql, _ in used)]), [value for _, value in used]
