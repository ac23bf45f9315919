"""The newest 1X2 odds of each match."""

from dataclasses import dataclass
from datetime import datetime

from app.store.listing import Listing
from app.store.shape import by_outcome, each, group, plain, times

_SHAPE = (
    plain("match_id")
    | group("odds", by_outcome("odds"), each("odds"))
    | plain("bookmaker", "event_url")
    | times("captured_at")
    | plain("overround")
)


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of one match and when they were collected; all None when there are none."""

    home: float | None
    draw: float | None
    away: float | None
    captured_at: datetime | None


def all_odds() -> Listing:
    """The odds of every match that has any, by kick-off."""
    return Listing(_SHAPE, "cards WHERE odds_home IS NOT NULL")
