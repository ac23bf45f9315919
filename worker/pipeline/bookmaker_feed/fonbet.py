"""Read Fonbet's feed: football matches with their 1X2 prices; an event that cannot be read is counted, not fatal."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from worker.pipeline.ingest.dates import iso_date_in
from worker.pipeline.ingest.price_triples import Triple, is_book

FOOTBALL = 1
MATCH_LEVEL = 1
MAIN_KIND = 1
HOME, DRAW, AWAY = 921, 922, 923
_GZIP_MAGIC = b"\x1f\x8b"
_FOOTBALL_PREFIX = "Футбол."
_DERIVED_KEYS = ("1", "X", "2")

Json = Mapping[str, Any]


class BadFeed(Exception):
    """A file that is not a feed we know."""


@dataclass(frozen=True, slots=True)
class FeedMatch:
    """One football match as the bookmaker lists it; one in play (`is_live`) has no pre-match price any more."""

    event_id: int
    tournament: str
    home_team: str
    away_team: str
    kickoff: datetime
    odds: Triple
    is_live: bool


@dataclass(slots=True)
class OddsFeed:
    """All football matches with a whole 1X2, and why other football events are not among them."""

    matches: list[FeedMatch] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_feed(paths: Iterable[Path]) -> OddsFeed:
    """Return the state after the newest snapshot and its increments (in any order), or a derived table of events.

    A snapshot stands for itself: what an older one listed and it does not is no offer any more.
    """
    documents = [(iso_date_in(path.name) or date.min, _read_json(path)) for path in paths]
    if any("events" in document for _, document in documents):
        if not all("events" in document for _, document in documents):
            raise BadFeed("a feed and another format cannot be read as one feed")
        return _FeedState(documents).list_matches()
    newest = max((day for day, _ in documents), default=date.min)
    feed = OddsFeed()
    events: dict[str, Any] = {}
    for _, document in (each for each in documents if each[0] == newest):
        events |= document
    if events and not any(_is_derived(key, event) for key, event in events.items()):
        raise BadFeed(f"entry {min(events)!r} is no event")
    for key, event in sorted(events.items()):
        if _is_derived(key, event):
            _add_derived(feed, key, event)
        else:
            feed.skipped["bad_event"] += 1
    return feed


def _read_json(path: Path) -> Json:
    raw = path.read_bytes()
    try:
        document = json.loads(gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw)
    except (ValueError, OSError, EOFError, RecursionError) as fault:
        raise BadFeed(f"{path.name}: no JSON: {fault}") from fault
    if not isinstance(document, dict):
        raise BadFeed(f"{path.name}: not an object")
    return document


class _FeedState:
    """The state of the feed while answers are applied in the order of their days and versions."""

    def __init__(self, documents: Sequence[tuple[date, Json]]) -> None:
        self._sports: dict[int, Json] = {}
        self._events: dict[int, Json] = {}
        self._prices: dict[int, dict[int, float | None]] = {}
        self._blocks: dict[int, Json] = {}
        self._feed = OddsFeed()
        for _, document in sorted(documents, key=lambda each: (each[0], *_version(each[1]))):
            if not _version(document)[0]:
                # a snapshot: the tree of sports may lack branches, all else is said anew
                self._events, self._prices, self._blocks = {}, {}, {}
                self._feed = OddsFeed()
            self._apply(document)

    def _apply(self, document: Json) -> None:
        self._sports |= {each["id"]: each for each in self._entries(document, "sports", "id")}
        self._events |= {each["id"]: each for each in self._entries(document, "events", "id")}
        self._blocks |= {each["eventId"]: each for each in self._entries(document, "eventBlocks", "eventId")}
        for entry in self._entries(document, "customFactors", "e"):
            # since 2026 the prices of an event come together; before, each stood alone
            factors = entry.get("factors", (entry,))
            prices = self._prices.setdefault(entry["e"], {})
            for factor in factors if isinstance(factors, (list, tuple)) else ():
                if isinstance(factor, dict) and isinstance(factor.get("f"), int):
                    prices[factor["f"]] = _number(factor.get("v"))
                else:
                    self._feed.skipped["bad_factor"] += 1

    def _entries(self, document: Json, name: str, key: str) -> Iterator[Json]:
        """Yield the entries of a list that have a key; the others are counted."""
        entries = document.get(name) or []
        if not isinstance(entries, list):
            self._feed.skipped[_BAD_ENTRIES[name]] += 1
            return
        for entry in entries:
            if isinstance(entry, dict) and all(_is_number(entry.get(each)) for each in (key, *_NEEDED.get(name, ()))):
                yield entry
            else:
                self._feed.skipped[_BAD_ENTRIES[name]] += 1

    def list_matches(self) -> OddsFeed:
        """Return the football matches of this state."""
        feed = self._feed
        for event in sorted(self._events.values(), key=lambda each: each["id"]):
            if event.get("level") != MATCH_LEVEL or not self._is_football(event.get("sportId")):
                continue
            match = self._read_event(event)
            if isinstance(match, str):
                feed.skipped[match] += 1
            else:
                feed.matches.append(match)
        return feed

    def _is_football(self, sport_id: object) -> bool:
        seen: set[object] = set()
        while isinstance(sport_id, int) and sport_id not in seen:
            seen.add(sport_id)
            sport = self._sports.get(sport_id, {})
            if sport.get("kind") == "sport" or "parentId" not in sport:
                # an increment or excerpt may lack the roots themselves
                return sport_id == FOOTBALL
            sport_id = sport["parentId"]
        return False

    def _read_event(self, event: Json) -> FeedMatch | str:
        """Return the match of an event, or why it is none."""
        home, away = (name.strip() if isinstance(name := event.get(key), str) else name for key in ("team1", "team2"))
        place = str(event.get("place")).lower()
        odds, kickoff = self._odds(event["id"]), _instant(event.get("startTime"))
        reasons = {
            "special": event.get("rootKind", MAIN_KIND) != MAIN_KIND or not (home and away),
            "not_active": place == "notactive",
            "no_1x2": odds is None,
            "suspended": self._is_blocked(event["id"]),
            "bad_odds_triple": odds is not None and not is_book(*odds),
            "bad_event": kickoff is None or not (isinstance(home, str) and isinstance(away, str)),
        }
        for reason, holds in reasons.items():
            if holds:
                return reason
        assert odds is not None  # noqa: S101 - the reasons have looked
        assert kickoff is not None  # noqa: S101
        tournament = str(self._sports.get(event["sportId"], {}).get("name", ""))
        return FeedMatch(event["id"], tournament, str(home), str(away), kickoff, odds, is_live=place == "live")

    def _is_blocked(self, event_id: int) -> bool:
        block = self._blocks.get(event_id, {})
        if block.get("state") == "blocked":
            return True
        factors = block.get("factors")
        named = factors if isinstance(factors, (list, dict)) else ()
        return block.get("state") == "partial" and any(_number(each) in {HOME, DRAW, AWAY} for each in named)

    def _odds(self, event_id: int) -> Triple | None:
        prices = self._prices.get(event_id, {})
        # a price of 0 is one that was withdrawn
        home, draw, away = (prices.get(factor) or 0.0 for factor in (HOME, DRAW, AWAY))
        return (home, draw, away) if home and draw and away else None


_BAD_ENTRIES = {
    "sports": "bad_sport",
    "events": "bad_event",
    "eventBlocks": "bad_block",
    "customFactors": "bad_factor",
}
_NEEDED = {"events": ("level", "sportId")}  # beside the key: what tells whether an event is a match of football
_FIRST_MILLISECONDS = 1e11  # as seconds it is the year 5138


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> float | None:
    """Return a price, also one in quotes with a decimal comma; None for what is no number."""
    try:
        return float(value.replace(",", ".") if isinstance(value, str) else value)  # type: ignore[arg-type] # is caught
    except (TypeError, ValueError):
        return None


def _instant(value: object) -> datetime | None:
    """Return an instant given in seconds or milliseconds since 1970; None for what is none."""
    seconds = _number(value)
    if seconds is None or isinstance(value, bool):
        return None
    try:
        instant = datetime.fromtimestamp(seconds / 1000 if seconds >= _FIRST_MILLISECONDS else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return instant if 2000 <= instant.year <= 2100 else None


def _version(document: Json) -> tuple[float, float]:
    """Return what orders answers of one day: increments say from which version they lead on, a snapshot starts at 0."""
    from_version, version = _number(document.get("fromVersion")) or 0.0, _number(document.get("packetVersion")) or 0.0
    return from_version, version


def _is_derived(key: str, event: Any) -> bool:
    return isinstance(event, dict) and "bids" in event and re.fullmatch(r"\d+", key) is not None


def _add_derived(feed: OddsFeed, key: str, event: Any) -> None:
    tournament, bids = event.get("Liga"), event["bids"]
    if not isinstance(tournament, str) or not tournament.startswith(_FOOTBALL_PREFIX):
        return  # other sports share the file
    prices = [_number(bids.get(name)) if isinstance(bids, dict) else None for name in _DERIVED_KEYS]
    home, draw, away = (price or 0.0 for price in prices)
    kickoff = _instant(event.get("time"))
    home_team, away_team = event.get("team1"), event.get("team2")
    if event.get("sportName") != MAIN_KIND:
        feed.skipped["special"] += 1
    elif not (home and draw and away):
        feed.skipped["no_1x2"] += 1
    elif not is_book(home, draw, away):
        feed.skipped["bad_odds_triple"] += 1
    elif kickoff is None or not (isinstance(home_team, str) and isinstance(away_team, str)):
        feed.skipped["bad_event"] += 1
    else:
        odds = (home, draw, away)
        feed.matches.append(FeedMatch(int(key), tournament, home_team, away_team, kickoff, odds, is_live=False))
