"""Join the copies of each match: season files, older copies of them and lists of coming matches say the same ones.

Which copy stands, in this order: one with a result; that of the newer file; the one that knows more. How new a file is,
the date in its name says, else its newest result; one marked as old, backup or copy is older than any other. The others
lend the prices that the standing copy lacks. Copies that disagree about the result are listed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise

from worker.pipeline.ingest import dates
from worker.pipeline.ingest.ingest_report import Disagreement, FileReport, IngestReport
from worker.pipeline.ingest.match_rows import MatchFile
from worker.pipeline.ingest.matches import Match, Status

_SAME_MATCH = timedelta(days=3)  # how far two dates of one match may lie apart
_ONE_DAY = timedelta(days=1)  # between two rows of one file that are one match
_POSTPONED = timedelta(days=14)  # how much later a match may be played than an older list says
_LONG_POSTPONED = timedelta(days=200)  # the same, where a row says that it was postponed
_OVERDUE = timedelta(days=7)  # a result this late after kick-off is not coming any more
_FINAL_WHISTLE = timedelta(hours=2)
_MARKED_OLD = re.compile(r"(^|[^a-z])(old|bak|backup|archived?|copy|kopie|copie)([^a-z]|$)|\(\d+\)\.", re.IGNORECASE)


@dataclass(slots=True)
class _Copy:
    """One row that says a match, and how new its file is."""

    match: Match
    report: FileReport
    age: date
    listed_on: date | None
    has_results: bool

    @property
    def rank(self) -> tuple[object, ...]:
        """Order among copies of one match; the largest stands."""
        return self.match.score is not None, self.age, self.match.completeness_key


def merge_copies(files: Sequence[MatchFile], now: datetime, report: IngestReport) -> list[Match]:
    """Return every match once, with its status at `now` and the time its prices were collected."""
    copies: dict[tuple[str, str, str], list[_Copy]] = defaultdict(list)
    for file in files:
        age, listed_on = _age(file), dates.iso_date_in(file.report.path)
        for match in file.matches:
            copies[match.pairing].append(_Copy(match, file.report, age, listed_on, file.has_results))
    newest = _newest_evidence(files, now)
    merged: list[_Copy] = []
    for group in copies.values():
        for cluster in _cluster(group) if len(group) > 1 else (group,):
            standing = _stand(cluster, now, report)
            if _settle_status(standing, now, newest):
                merged.append(standing)
    _name_double_days(merged)
    return [copy.match for copy in merged]


def _name_double_days(copies: Iterable[_Copy]) -> None:
    """Count matches of a club that plays another on the same day: a second spelling, sides turned, another division."""
    known: set[tuple[str, str, date]] = set()
    for copy in copies:
        match = copy.match
        region, day = match.league.region, match.day
        home, away = (region, match.home_team, day), (region, match.away_team, day)
        if home in known or away in known:
            copy.report.repair("club_plays_twice_a_day", match.line)
        known.add(home)
        known.add(away)


def _age(file: MatchFile) -> date:
    """Return a day that orders files by how new what they say is."""
    if any(_MARKED_OLD.search(part) for part in file.report.path.split("/")):
        return date.min
    listed_on = dates.iso_date_in(file.report.path)
    if listed_on is not None:
        return listed_on
    if not file.has_results:
        return date.max  # a list without a date is the publisher's current one
    return max(match.day for match in file.matches if match.score is not None)


def _newest_evidence(files: Sequence[MatchFile], now: datetime) -> datetime | None:
    """Return the latest moment that any file can know of."""
    results = [match.kickoff for file in files for match in file.matches if match.score is not None]
    named = [day for file in files if file.matches and (day := dates.iso_date_in(file.report.path))]
    lists = [dates.kickoff_utc(day, None) for day in named]
    # a date in a name may be of the week that a list is for
    return max((min(moment, now) for moment in (*results, *lists)), default=None)


def _cluster(group: list[_Copy]) -> list[list[_Copy]]:
    """Part the copies of one pairing into matches: some leagues repeat a pairing in one season."""
    # files come in the order of their paths and lines in that of the file: both stay within a day
    group.sort(key=lambda copy: copy.match.day)
    clusters = [[group[0]]]
    for before, copy in pairwise(group):
        furthest = _LONG_POSTPONED if before.match.status is Status.POSTPONED else _POSTPONED
        is_near = copy.match.day - before.match.day <= furthest
        if is_near and any(_is_same(earlier, copy) for earlier in clusters[-1]):
            clusters[-1].append(copy)
        else:
            clusters.append([copy])
    return clusters


def _is_same(earlier: _Copy, later: _Copy) -> bool:
    apart = later.match.day - earlier.match.day
    if not apart:
        return True
    if earlier.match.score is not None and later.match.score is not None:
        # the last round and a play-off may bring the same pairing to the same ground within three days
        furthest = _ONE_DAY if earlier.report is later.report else _SAME_MATCH
        return apart <= furthest and earlier.match.score == later.match.score
    if apart <= _SAME_MATCH:
        return True
    if earlier.match.status is Status.POSTPONED:
        # it says itself that it is played later; further on it may be the other match of the pairing
        return later.match.status is not Status.POSTPONED and earlier.match.season == later.match.season
    # a match that has no result on its day, and one of a newer file some days later: it was postponed
    is_open = earlier.match.score is None and earlier.age <= later.age
    listed_after = earlier.listed_on is not None and earlier.listed_on > later.match.day
    return is_open and apart <= _POSTPONED and not listed_after and _was_moved(earlier, later)


def _was_moved(earlier: _Copy, later: _Copy) -> bool:
    if later.match.score is not None:
        return True
    # of two lists, the newer speaks; a list that names both days means two matches
    return earlier.report is not later.report and earlier.age < later.age


def _stand(cluster: list[_Copy], now: datetime, report: IngestReport) -> _Copy:
    """Return the copy that stands, with the prices that it lacks, and count the others out."""
    ranked = sorted(cluster, key=lambda copy: copy.rank, reverse=True) if len(cluster) > 1 else cluster
    standing = ranked[0]
    match = standing.match
    match.captured_at = _captured_at(standing, now)
    for other in ranked[1:]:
        other.report.withdraw(_cause(standing, other), other.match.line)
        if match.score is not None and other.match.score is not None and _disagree(match, other.match):
            other.report.repair("copies_disagree", other.match.line)
            report.disagreements.append(Disagreement(_name(match), _say(standing), _say(other)))
        _lend_prices(standing, other, now)
    return standing


def _captured_at(copy: _Copy, now: datetime) -> datetime | None:
    """Return when the prices of a row were collected: a price that is in hand was collected before now."""
    if not copy.match.has_pre_match_prices:
        return None
    is_list = copy.match.score is None or not copy.has_results
    return min(dates.collected_utc(copy.match.kickoff, copy.listed_on if is_list else None), now)


def _cause(standing: _Copy, other: _Copy) -> str:
    if other.match.score is not None:
        return "duplicate_match"
    if other.match.status is Status.POSTPONED:
        return "played_later"
    return "fixture_in_season_file" if standing.match.score is not None else "fixture_repeated"


def _disagree(match: Match, other: Match) -> bool:
    return match.score != other.score or match.day != other.day


def _name(match: Match) -> str:
    return f"{match.league.division} {match.day.isoformat()} {match.home_team} - {match.away_team}"


def _say(copy: _Copy) -> str:
    match = copy.match
    score = f"{match.score[0]}-{match.score[1]}" if match.score else "no result"
    return f"{score} on {match.day.isoformat()}: {match.source_file}, line {match.line}"


def _lend_prices(standing: _Copy, other: _Copy, now: datetime) -> None:
    match = standing.match
    missing = [book for book in other.match.prices if book not in match.prices]
    # nobody's price of a match holds for another day months later
    if not missing or other.match.is_unsound or abs(match.day - other.match.day) > _POSTPONED:
        return
    had_prices = match.has_pre_match_prices
    match.prices |= {book: other.match.prices[book] for book in missing}
    if not had_prices and match.has_pre_match_prices:
        captured = _captured_at(other, now)
        match.captured_at = min(captured or match.kickoff, match.kickoff)
        standing.report.repair("prices_lent_to_result" if match.score is not None else "prices_lent", match.line)


def _settle_status(copy: _Copy, now: datetime, newest: datetime | None) -> bool:
    """Give a match without a result its status at `now`; False when nothing says any more that it takes place."""
    match = copy.match
    if match.status is not Status.UPCOMING:
        return True
    ends = match.kickoff + _FINAL_WHISTLE if match.has_time else _end_of_day(match.day)
    if newest is not None and match.kickoff < newest - _OVERDUE:
        if not copy.has_results:
            copy.report.withdraw("fixture_without_result", match.line)
            return False
        # a season file holds what was played: a row without a score was called off or annulled
        match.status = Status.CANCELLED
        copy.report.repair("missing_score", match.line)
    elif ends <= now:
        match.status = Status.AWAITING_RESULT
    return True


def _end_of_day(day: date) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(6), dates.UK)


def complete_seasons(upcoming: Iterable[Match], styles: Mapping[str, str]) -> None:
    """Name the season of listed matches whose layout has none, in the style of their division's newest season."""
    for match in upcoming:
        if "/" in styles.get(match.league.key, ""):
            match.season = dates.split_season(match.day)
