"""Reads a folder of published results into the matches table."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from worker.pipeline.ingest import dates
from worker.pipeline.ingest import fixtures_lists as fixtures
from worker.pipeline.ingest.club_names import Teams
from worker.pipeline.ingest.fixtures_lists import FixturesLists
from worker.pipeline.ingest.ingest_report import IngestReport
from worker.pipeline.ingest.leagues import Leagues
from worker.pipeline.ingest.match_rows import MatchFile, RowReader
from worker.pipeline.ingest.matches import Match, Status, table_of
from worker.pipeline.ingest.sources import find_sources
from worker.pipeline.progress import Progress, SilentProgress


@dataclass(frozen=True, slots=True)
class Ingest:
    """All matches of a folder, and what became of every row."""

    matches: pa.Table
    report: IngestReport


def read_folder(folder: Path, progress: Progress | None = None) -> Ingest:
    """Every match of a folder of season files and fixtures lists; one bad file does not stop the others."""
    sources, left_alone = find_sources(folder)
    reader = RowReader(Leagues.of_folder(folder), Teams())
    files = []
    with (progress or SilentProgress()).step("reading results", len(sources)) as advance:
        for source in sources:
            files.append(reader.read(source))
            advance()
    report = IngestReport(files=[each.report for each in files], left_alone=left_alone)
    seasons = _distinct([each for each in files if not each.is_list])
    upcoming = _upcoming([each for each in files if each.is_list], seasons, report)
    return Ingest(table_of([*seasons, *upcoming]), report)


def _distinct(files: Sequence[MatchFile]) -> list[Match]:
    """One copy of each match, with the time its prices were collected."""
    best: dict[int, tuple[Match, MatchFile]] = {}
    for file in files:
        for match in file.matches:
            key = match.match_id
            copy = best.get(key)
            if copy is None or match.worth > copy[0].worth:
                best[key] = (match, file)
            loser = copy[1] if copy is not None and best[key][0] is match else file if copy is not None else None
            if loser is not None:
                loser.report.matches -= 1
                loser.report.skipped["duplicate_match"] += 1
    matches = [match for match, _ in best.values()]
    for match in matches:
        match.captured_at = dates.collected_utc(match.kickoff) if match.has_pre_match_prices else None
    return matches


def _upcoming(lists: Sequence[MatchFile], seasons: Sequence[Match], report: IngestReport) -> list[Match]:
    """The matches still to come; those that were played leave their lists."""
    if not lists:
        return []
    listed = FixturesLists()
    matches_of = {each.report.path: each.matches for each in lists}
    for file_report in fixtures.by_age(each.report for each in lists):
        listed.add(matches_of[file_report.path], file_report)
    for match in sorted(seasons, key=lambda each: (each.kickoff, each.match_id)):
        listed.settle(match)
    upcoming = listed.upcoming(_newest_result(seasons))
    fixtures.complete_seasons(upcoming, _season_styles(seasons))
    report.n_upcoming = len(upcoming)
    report.unknown_teams = fixtures.unknown_teams(upcoming, _clubs(seasons))
    return upcoming


def _newest_result(matches: Iterable[Match]) -> datetime | None:
    return max((each.kickoff for each in matches if each.status is Status.FINISHED), default=None)


def _season_styles(matches: Iterable[Match]) -> dict[str, str]:
    newest: dict[str, Match] = {}
    for match in matches:
        known = newest.get(match.league.division)
        if known is None or match.kickoff > known.kickoff:
            newest[match.league.division] = match
    return {division: match.season for division, match in newest.items()}


def _clubs(matches: Iterable[Match]) -> dict[str, set[str]]:
    clubs: dict[str, set[str]] = defaultdict(set)
    for match in matches:
        clubs[match.league.region].update((match.home_team, match.away_team))
    return clubs
