"""How a match ended, as far as the judging of predictions needs it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class MatchResult:
    """A match with its result, or without one (yet, or any more); closing prices where they are known."""

    match_id: int
    kickoff_utc: datetime
    kickoff_known: bool  # false: only the day is known, and the hour is a guess
    outcome: Outcome | None
    home_score: int | None
    away_score: int | None
    closing: tuple[float, float, float] | None
    n_history_home: int | None = None  # earlier matches of the team, see `odds.too_little_history`; None: not counted
    n_history_away: int | None = None

    @property
    def decided_from(self) -> datetime:
        """When a prediction may first have known something of the match: its kick-off, or the beginning of its day."""
        if self.kickoff_known:
            return self.kickoff_utc
        return self.kickoff_utc.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
