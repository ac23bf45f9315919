"""Lists of coming matches: which are still to come, and which were played since."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from rapidfuzz import fuzz, process

from worker.pipeline.ingest import dates
from worker.pipeline.ingest.ingest_report import FileReport, UnknownTeam
from worker.pipeline.ingest.matches import PRE_MATCH_BOOKS, Match, Status

_SAME_MATCH = timedelta(days=3)  # how far a match may be moved and still be the one on the list
_OVERDUE = timedelta(days=7)  # a result this late after kick-off is not coming any more
_SUGGESTIONS, _LIKENESS = 3, 60


class FixturesLists:
    """The matches of all lists; the newest list speaks for a match that several name."""

    def __init__(self) -> None:
        self._by_pairing: dict[tuple[str, str, str], list[tuple[Match, FileReport]]] = defaultdict(list)
        self._newest: datetime | None = None

    def add(self, matches: Sequence[Match], report: FileReport) -> None:
        """One list; call in the order of age, the newest last."""
        listed_on = dates.iso_date_in(report.path)
        for match in matches:
            match.status = Status.UPCOMING
            match.captured_at = dates.collected_utc(match.kickoff, listed_on) if match.has_pre_match_prices else None
            self._replace(match, report)
        if listed_on is not None:
            self._newest = max(filter(None, (self._newest, dates.kickoff_utc(listed_on, None))))

    def _replace(self, match: Match, report: FileReport) -> None:
        listed = self._by_pairing[match.pairing]
        for older in [each for each in listed if _is_same(each[0], match)]:
            listed.remove(older)
            _skip(older[1], "fixture_repeated")
        listed.append((match, report))

    def settle(self, played: Match) -> None:
        """A season file has this match: it leaves the list, and lends its prices where the season file has none."""
        listed = self._by_pairing.get(played.pairing)
        if not listed:
            return
        for entry in [each for each in listed if _is_same(each[0], played)]:
            listed.remove(entry)
            match, report = entry
            _skip(report, "fixture_in_season_file")
            if not played.has_pre_match_prices and match.has_pre_match_prices:
                played.prices |= {book: match.prices[book] for book in PRE_MATCH_BOOKS if book in match.prices}
                played.captured_at = min(match.captured_at or played.kickoff, played.kickoff)
                report.repaired["prices_lent_to_result"] += 1

    def upcoming(self, newest_result: datetime | None) -> list[Match]:
        """Matches still to come, seen from the newest evidence; older ones that got no result are counted out."""
        known = [instant for instant in (self._newest, newest_result) if instant is not None]
        overdue = max(known) - _OVERDUE if known else None
        coming = []
        for match, report in (entry for entries in self._by_pairing.values() for entry in entries):
            if overdue is not None and match.kickoff < overdue:
                _skip(report, "fixture_without_result")
            else:
                coming.append(match)
        return coming


def _is_same(one: Match, other: Match) -> bool:
    return abs(one.day - other.day) <= _SAME_MATCH


def _skip(report: FileReport, cause: str) -> None:
    report.matches -= 1
    report.skipped[cause] += 1


def by_age(reports: Iterable[FileReport]) -> list[FileReport]:
    """Lists from old to new; one without a date in its name is the publisher's current one."""
    return sorted(reports, key=lambda each: (dates.iso_date_in(each.path) or date.max, each.path))


def complete_seasons(upcoming: Iterable[Match], styles: Mapping[str, str]) -> None:
    """Name the season of listed matches whose layout has none, in the style of their division's newest season."""
    for match in upcoming:
        if "/" in styles.get(match.league.division, ""):
            match.season = dates.split_season(match.day)


def unknown_teams(upcoming: Iterable[Match], known: Mapping[str, set[str]]) -> list[UnknownTeam]:
    """Clubs of coming matches that no season file of their country names, with the likest names it does."""
    missing = {
        (match.league.division, name, match.league.region)
        for match in upcoming
        for name in (match.home_team, match.away_team)
        if name not in known.get(match.league.region, set())
    }
    return [
        UnknownTeam(division, name, _suggestions(name, sorted(known.get(region, set()))))
        for division, name, region in sorted(missing)
    ]


def _suggestions(name: str, choices: Sequence[str]) -> tuple[str, ...]:
    found = process.extract(name, choices, scorer=fuzz.WRatio, limit=_SUGGESTIONS, score_cutoff=_LIKENESS)
    return tuple(choice for choice, _, _ in found)
