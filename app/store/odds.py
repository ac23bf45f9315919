"""The newest 1X2 odds of each match."""

from dataclasses import dataclass
from datetime import datetime

from app.store.listing import Listing, instant, struct

_COLUMNS = "match_id, odds_home, odds_draw, odds_away, bookmaker, event_url, captured_at, overround"
_JSON_ROW = struct(
    match_id="match_id",
    odds=struct(home="odds_home", draw="odds_draw", away="odds_away"),
    bookmaker="bookmaker",
    event_url="event_url",
    captured_at=instant("captured_at"),
    overround="overround",
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
    return Listing(_JSON_ROW, _COLUMNS, "cards WHERE odds_home IS NOT NULL")
