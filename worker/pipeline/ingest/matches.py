"""The table of matches: its columns, its keys, and one row of it while a file is read."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa

from app.domain.outcomes import OUTCOMES as SIDES
from app.domain.outcomes import Outcome
from worker.pipeline.ingest.layouts import bookmaker_name, is_closing
from worker.pipeline.ingest.leagues import League
from worker.pipeline.ingest.price_triples import NO_PRICES, Triple


class Status(StrEnum):
    """How far a match is."""

    FINISHED = "finished"
    UPCOMING = "upcoming"
    AWAITING_RESULT = "awaiting_result"  # its kick-off has passed
    POSTPONED = "postponed"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"  # its score, if any, is that of the moment
    AWARDED = "awarded"  # its score was decided at a table


BOOKS = ("b365", "b365c", "avg", "avgc", "psc")  # Bet365, its closing, market average, its closing, Pinnacle closing
INSTANT = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_COLUMN_TYPES: dict[str, pa.DataType] = {
    "match_id": pa.int64(),
    "kickoff_utc": INSTANT,
    "has_time": pa.bool_(),
    "region": pa.string(),
    "tournament": pa.string(),
    "division": pa.string(),
    "tier": pa.int16(),
    "season": pa.string(),
    "home_team": pa.string(),
    "away_team": pa.string(),
    "status": pa.string(),
    "home_score": pa.int16(),
    "away_score": pa.int16(),
    "outcome": pa.int8(),
    **{f"{book}_{side}": pa.float64() for book in BOOKS for side in SIDES},
    "odds_captured_at": INSTANT,
    "odds_unsound": pa.bool_(),
    "is_neutral": pa.bool_(),
    "source_file": pa.string(),
}
SCHEMA = pa.schema(_COLUMN_TYPES)
PRICES_SCHEMA = pa.schema(
    {
        "match_id": pa.int64(),
        "bookmaker": pa.string(),
        **{f"odds_{side}": pa.float64() for side in SIDES},
        "captured_at": INSTANT,
        "kind": pa.string(),
        "url": pa.string(),
    }
)


@dataclass(slots=True)
class Match:
    """One row; `prices` maps the key of each book that priced the match (`layouts.book_key`) to its triple."""

    league: League
    day: date
    kickoff: datetime
    has_time: bool
    season: str
    home_team: str
    away_team: str
    score: tuple[int, int] | None
    prices: dict[str, Triple]
    captured_at: datetime | None
    source_file: str
    status: Status = Status.FINISHED
    line: int = 0  # in the source file
    is_unsound: bool = False  # Bet365's price contradicts the others' of its row
    is_neutral: bool = False
    half_time_known: bool = False

    @property
    def match_id(self) -> int:
        """The key: the same on every machine and in every order of reading."""
        return match_id(self.league.key, self.day, self.home_team, self.away_team)

    @property
    def pairing(self) -> tuple[str, str, str]:
        """Division and clubs; a key only together with the date, as some leagues repeat pairings."""
        return self.league.key, self.home_team, self.away_team

    @property
    def has_pre_match_prices(self) -> bool:
        """Whether anybody's price from before the match is known."""
        return not all(is_closing(key) for key in self.prices)

    @property
    def completeness_key(self) -> tuple[Any, ...]:
        """Order among copies of equal age: the one that knows most wins, whatever was read first."""
        values = (self.source_file, self.kickoff, self.score or (), sorted(self.prices.items()))
        return self.score is not None, len(self.prices), self.has_time, *values


def match_id(division: str, day: date, home_team: str, away_team: str) -> int:
    """A hash over what makes a match (division, published date, canonical names); 53 bits: exact in JavaScript too."""
    text = f"{division}\0{day.isoformat()}\0{home_team}\0{away_team}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 11


def table_of(matches: Sequence[Match]) -> pa.Table:
    """The table, in the order of kick-off and key."""
    columns = _identity(matches) | _results(matches) | _odds(matches)
    table = pa.table([pa.array(columns[each.name], each.type) for each in SCHEMA], schema=SCHEMA)
    return table.sort_by([("kickoff_utc", "ascending"), ("match_id", "ascending")])


def prices_of(matches: Sequence[Match]) -> pa.Table:
    """All prices of all bookmakers, a row each, with the time they were collected; of closing prices the kick-off."""
    by_key: dict[str, list[tuple[int, Match]]] = defaultdict(list)
    for match in matches:
        number = match.match_id  # a hash each time
        for key in match.prices:
            by_key[key].append((number, match))
    parts = [_prices_of_book(key, by_key[key]) for key in sorted(by_key)]
    return pa.concat_tables([PRICES_SCHEMA.empty_table(), *parts])


def _prices_of_book(key: str, matches: Sequence[tuple[int, Match]]) -> pa.Table:
    n, closing = len(matches), is_closing(key)
    times = [match.kickoff if closing else match.captured_at or match.kickoff for _, match in matches]
    triples = np.array([match.prices[key] for _, match in matches], dtype=np.float64)
    columns = {
        "match_id": pa.array([number for number, _ in matches], pa.int64()),
        "bookmaker": pa.repeat(bookmaker_name(key), n),
        **{f"odds_{side}": pa.array(triples[:, place]) for place, side in enumerate(SIDES)},
        "captured_at": pa.array([_microseconds(time) for time in times], INSTANT),
        "kind": pa.repeat("closing" if closing else "offer", n),
        "url": pa.nulls(n, pa.string()),
    }
    return pa.table(columns, schema=PRICES_SCHEMA)


def _identity(matches: Sequence[Match]) -> dict[str, list[Any]]:
    return {
        "match_id": [each.match_id for each in matches],
        "kickoff_utc": [_microseconds(each.kickoff) for each in matches],
        "has_time": [each.has_time for each in matches],
        "region": [each.league.region for each in matches],
        "tournament": [each.league.tournament for each in matches],
        "division": [each.league.division for each in matches],
        "tier": [each.league.tier for each in matches],
        "season": [each.season for each in matches],
        "home_team": [each.home_team for each in matches],
        "away_team": [each.away_team for each in matches],
        "source_file": [each.source_file for each in matches],
        "is_neutral": [each.is_neutral for each in matches],
    }


def _results(matches: Sequence[Match]) -> dict[str, list[Any]]:
    scores = [each.score for each in matches]
    return {
        "status": [each.status.value for each in matches],
        "home_score": [score[0] if score else None for score in scores],
        "away_score": [score[1] if score else None for score in scores],
        "outcome": [_outcome(each.score) if each.status is Status.FINISHED else None for each in matches],
    }


def _odds(matches: Sequence[Match]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for book in BOOKS:
        triples = [each.prices.get(book, NO_PRICES) for each in matches]
        for position, side in enumerate(SIDES):
            columns[f"{book}_{side}"] = [triple[position] for triple in triples]
    captured = [each.captured_at for each in matches]
    columns["odds_unsound"] = [each.is_unsound for each in matches]
    columns["odds_captured_at"] = [_microseconds(instant) if instant else None for instant in captured]
    return columns


def _outcome(score: tuple[int, int] | None) -> int | None:
    return None if score is None else int(Outcome.of_score(*score))


def _microseconds(instant: datetime) -> int:
    # exact, unlike timestamp(); and ten times faster than handing aware datetimes to Arrow
    delta = instant - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
