"""Reads Fonbet's line feed: football matches with their 1X2 prices."""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    """The line after a snapshot and its increments (in any order), or a derived table of events."""
    documents = [_read_json(path) for path in paths]
    if any("events" in each for each in documents):
        if not all("events" in each for each in documents):
            raise BadFeed("a feed and another format cannot be read as one line")
        return _Feed(documents).line()
    line = OddsFeed()
    merged: dict[str, Any] = {}
    for each in documents:
        merged |= each
    for key, event in sorted(merged.items()):
        _add_derived(line, key, event)
    return line


def _read_json(path: Path) -> Json:
    raw = path.read_bytes()
    try:
        document = json.loads(gzip.decompress(raw) if raw.startswith(_GZIP_MAGIC) else raw)
    except (ValueError, OSError, EOFError) as fault:
        raise BadFeed(f"{path.name}: no JSON: {fault}") from fault
    if not isinstance(document, dict):
        raise BadFeed(f"{path.name}: not an object")
    return document


class _Feed:
    """The state of the line while answers are applied in the order of their versions."""

    def __init__(self, documents: Sequence[Json]) -> None:
        self._sports: dict[int, Json] = {}
        self._events: dict[int, Json] = {}
        self._prices: dict[int, dict[int, float]] = {}
        self._blocks: dict[int, Json] = {}
        for document in sorted(documents, key=_version):
            self._apply(document)

    def _apply(self, document: Json) -> None:
        self._sports |= {each["id"]: each for each in document.get("sports", ())}
        self._events |= {each["id"]: each for each in document["events"]}
        self._blocks |= {each["eventId"]: each for each in document.get("eventBlocks", ())}
        for entry in document.get("customFactors", ()):
            # since 2026 the prices of an event come together; before, each stood alone
            for factor in entry.get("factors", (entry,)):
                self._prices.setdefault(entry["e"], {})[factor["f"]] = float(factor["v"])

    def line(self) -> OddsFeed:
        """The football matches of this state."""
        line = OddsFeed()
        for event in sorted(self._events.values(), key=lambda each: each["id"]):
            if event.get("level") != MATCH_LEVEL or not self._is_football(event.get("sportId")):
                continue
            reason = self._reason_to_skip(event)
            if reason is None:
                line.matches.append(self._match(event))
            else:
                line.skipped[reason] += 1
        return line

    def _is_football(self, sport_id: int | None) -> bool:
        seen: set[int] = set()
        while sport_id is not None and sport_id not in seen:
            seen.add(sport_id)
            sport = self._sports.get(sport_id, {})
            if sport.get("kind") == "sport" or "parentId" not in sport:
                # an increment or excerpt may lack the roots themselves
                return sport_id == FOOTBALL
            sport_id = sport["parentId"]
        return False

    def _reason_to_skip(self, event: Json) -> str | None:
        if event.get("rootKind", MAIN_KIND) != MAIN_KIND or not (event.get("team1") and event.get("team2")):
            return "special"
        if event.get("place") == "notActive":
            return "not_active"
        odds = self._odds(event["id"])
        if odds is None:
            return "no_1x2"
        block = self._blocks.get(event["id"], {})
        is_partly_blocked = block.get("state") == "partial" and {HOME, DRAW, AWAY} & set(block.get("factors", ()))
        if block.get("state") == "blocked" or is_partly_blocked:
            return "suspended"
        return None if is_book(*odds) else "bad_odds_triple"

    def _odds(self, event_id: int) -> Triple | None:
        prices = self._prices.get(event_id, {})
        # a price of 0 is one that was withdrawn
        home, draw, away = (prices.get(factor) or 0.0 for factor in (HOME, DRAW, AWAY))
        return (home, draw, away) if home and draw and away else None

    def _match(self, event: Json) -> FeedMatch:
        odds = self._odds(event["id"])
        assert odds is not None  # noqa: S101 - _reason_to_skip has looked
        return FeedMatch(
            event_id=event["id"],
            tournament=str(self._sports.get(event["sportId"], {}).get("name", "")),
            home_team=event["team1"],
            away_team=event["team2"],
            kickoff=datetime.fromtimestamp(event["startTime"], UTC),
            odds=odds,
            is_live=event.get("place") == "live",
        )


def _version(document: Json) -> tuple[int, int]:
    """Increments say from which version they lead on; a snapshot starts at 0 and comes first."""
    return document.get("fromVersion") or 0, document.get("packetVersion") or 0


def _add_derived(line: OddsFeed, key: str, event: Any) -> None:
    if not isinstance(event, dict) or "bids" not in event or not re.fullmatch(r"\d+", key):
        raise BadFeed(f"entry {key!r} is no event")
    if not event.get("Liga", "").startswith(_FOOTBALL_PREFIX):
        return  # other sports share the file
    prices = [event["bids"].get(name) for name in _DERIVED_KEYS]
    if event.get("sportName") != MAIN_KIND:
        line.skipped["special"] += 1
    elif not all(prices):
        line.skipped["no_1x2"] += 1
    elif not is_book(*(float(each) for each in prices)):
        line.skipped["bad_odds_triple"] += 1
    else:
        home, draw, away = (float(each) for each in prices)
        kickoff = datetime.fromtimestamp(event["time"], UTC)
        names = event["Liga"], event["team1"], event["team2"]
        line.matches.append(FeedMatch(int(key), *names, kickoff, (home, draw, away), is_live=False))
