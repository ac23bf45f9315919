"""Links a bookmaker's matches to ours by kick-off, country and the sound of the clubs' names."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any

from worker.pipeline.bookmaker_feed.fonbet import FeedMatch
from worker.pipeline.bookmaker_feed.spelling import likeness

TOLERANCE = timedelta(hours=2)  # kick-offs get moved by television, and lists lag behind
_LEAST_PAIR, _LEAST_NAME = 72.0, 55.0  # of 100: both names together, and each alone
_CLEAR_LEAD = 8.0  # over the next best match, else the link is ambiguous
_ALIAS = 100.0
# sexes, ages and games that our leagues do not have, in tournaments and names of clubs
_OTHER_SEX_OR_AGE = re.compile(
    r"\bжен|\bдевуш|\bдевоч|\bж\b|\bЖФ|women|ladies|\bfem|f[eé]minin|frauen|damen|\bW\b|\bWFC\b|\bNWSL\b|\bWSL\b"
    r"|\bдо[ -]?\d\d\b|\bU[ -]?\d\d\b|\bsub[ -]?\d\d\b|\(\d\d\)|молод|\bмол\b|юнош|юниор|\(ю\)|\b[МЮ]ФЛ\b"
    r"|примавера|primavera|youth|junior|ветеран|легенд|студен|кибер|cyber|esport|efootball|\bFIFA ?\d\d|\bFC ?2\d\b"
    r"|\bSRL\b|симулир|виртуал|virtual|футзал|futsal|мини-футбол|пляжн|\b[3-8] ?[xх] ?[3-8]\b"
    r"|углов|карточ|\bфолы|\bофсайд|статистик",
    re.IGNORECASE,
)
_RESERVE_LEAGUE = re.compile(r"резерв|дубл|reserve|премьер-лига 2\b|premier league 2\b", re.IGNORECASE)
# the second team of a club, which is another team than the first
_RESERVE_MARK = re.compile(
    r"(?<=\S)\s*-\s*[23]\b|\s[23]$|\s+I{2,3}\b|[\s-][BБC]$|\s*\((?:р|рез\.?|[BБ])\)|резерв\w*|\bдубль\b|\breserves?\b"
    r"|\b(?:йонг|jong)\b|\bкастилья\b|\bcastilla\b|(?<=барселона) атлетик\b",
    re.IGNORECASE,
)


def split_reserve_mark(name: str) -> tuple[str, bool]:
    """Return a club's name without the mark of a second team, and whether it bore one."""
    bare = _RESERVE_MARK.sub(" ", name).strip()
    return (" ".join(bare.split()), True) if bare and bare != name.strip() else (name, False)


@dataclass(frozen=True, slots=True)
class OurMatch:
    """What of one of our matches linking needs."""

    match_id: int
    kickoff: datetime
    region: str
    home_team: str
    away_team: str


@dataclass(frozen=True, slots=True)
class EventLink:
    """One of the bookmaker's matches, and the one of ours it is; without one, the reason and the likest ones."""

    line: FeedMatch
    match: OurMatch | None
    reason: str
    score: float = 0.0
    candidates: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The link as JSON shows it."""
        return {
            "event_id": self.line.event_id,
            "tournament": self.line.tournament,
            "home_team": self.line.home_team,
            "away_team": self.line.away_team,
            "kickoff_utc": self.line.kickoff.isoformat(),
            "match_id": self.match.match_id if self.match else None,
            "match": f"{self.match.home_team} - {self.match.away_team}" if self.match else None,
            "reason": self.reason,
            "score": round(self.score, 1),
            "candidates": list(self.candidates),
        }


@dataclass(frozen=True, slots=True)
class Spellings:
    """What the bookmaker calls countries, and clubs whose names do not sound like ours."""

    countries: Mapping[str, str]
    clubs: Mapping[str, Mapping[str, str]]

    def region(self, tournament: str) -> str | None:
        """Our region of a tournament such as `Футбол. Англия. Премьер-Лига` or `Англия. Премьер-лига`."""
        for part in tournament.split(".")[:3]:
            if region := self.countries.get(part.strip().casefold()):
                return region
        return None

    def alike(self, region: str, theirs: str, ours: str) -> float:
        """How alike two clubs' names are, 0 to 100; a known alias decides alone."""
        alias = self.clubs.get(region, {}).get(theirs.strip())
        if alias is not None:
            return _ALIAS if alias == ours else 0.0
        (bare, is_reserve), (our_bare, is_our_reserve) = split_reserve_mark(theirs), split_reserve_mark(ours)
        if is_reserve is not is_our_reserve:
            return 0.0
        alias = self.clubs.get(region, {}).get(bare) if is_reserve else None
        return likeness(bare, our_bare) if alias is None else (_ALIAS if alias == our_bare else 0.0)


class Linker:
    """Our matches in the order of kick-off, to look candidates up."""

    def __init__(self, matches: Iterable[OurMatch], spellings: Spellings, tolerance: timedelta = TOLERANCE) -> None:
        self._matches = sorted(matches, key=lambda each: (each.kickoff, each.match_id))
        self._kickoffs = [each.kickoff for each in self._matches]
        self._spellings = spellings
        self._tolerance = tolerance

    def link_all(self, line: Sequence[FeedMatch], captured_at: datetime) -> list[EventLink]:
        """A link for each; one of our matches claimed twice is claimed by nobody."""
        links = [self.link(each, captured_at) for each in line]
        claims = Counter(link.match.match_id for link in links if link.match)
        return [
            EventLink(link.line, None, "ambiguous", link.score, (_named(link.match),))
            if link.match and claims[link.match.match_id] > 1
            else link
            for link in links
        ]

    def link(self, line: FeedMatch, captured_at: datetime) -> EventLink:
        """The match of ours, or why there is none."""
        if line.is_live or captured_at >= line.kickoff:
            return EventLink(line, None, "in_play")
        texts = line.tournament, line.home_team, line.away_team
        if any(_OTHER_SEX_OR_AGE.search(text) for text in texts) or _RESERVE_LEAGUE.search(line.tournament):
            return EventLink(line, None, "women_youth_or_reserve")
        region = self._spellings.region(line.tournament)
        if region is None:
            return EventLink(line, None, "tournament_of_no_region_of_ours")
        near = [each for each in self._near(line.kickoff) if each.region == region]
        return self._choose(line, near) if near else EventLink(line, None, "no_match_at_that_time")

    def _near(self, kickoff: datetime) -> Sequence[OurMatch]:
        low = bisect_left(self._kickoffs, kickoff - self._tolerance)
        return self._matches[low : bisect_right(self._kickoffs, kickoff + self._tolerance)]

    def _choose(self, line: FeedMatch, near: Sequence[OurMatch]) -> EventLink:
        scored = ((self._score(line, each), each) for each in near)
        ranked = sorted(scored, key=lambda pair: (-pair[0], pair[1].match_id))
        score, best = ranked[0]
        shown = tuple(starmap(_scored, ranked[:3]))
        if score < _LEAST_PAIR:
            is_reserve = split_reserve_mark(line.home_team)[1] or split_reserve_mark(line.away_team)[1]
            reason = "women_youth_or_reserve" if is_reserve else "no_name_alike"
            return EventLink(line, None, reason, score, shown)
        if len(ranked) > 1 and score - ranked[1][0] < _CLEAR_LEAD:
            return EventLink(line, None, "ambiguous", score, shown)
        return EventLink(line, best, "linked", score)

    def _score(self, line: FeedMatch, match: OurMatch) -> float:
        home = self._spellings.alike(match.region, line.home_team, match.home_team)
        away = self._spellings.alike(match.region, line.away_team, match.away_team)
        return (home + away) / 2 if min(home, away) >= _LEAST_NAME else min(home, away)


def _named(match: OurMatch) -> str:
    return f"{match.home_team} - {match.away_team}"


def _scored(score: float, match: OurMatch) -> str:
    return f"{_named(match)} ({score:.0f})"
