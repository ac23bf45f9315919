"""Read a folder of match files into the table of matches: files, rows, copies joined, and a report of every line."""

import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from rapidfuzz import fuzz, process

from worker.pipeline.ingest.club_names import ClubNames, read_aliases
from worker.pipeline.ingest.ingest_report import IngestReport, UnknownTeam
from worker.pipeline.ingest.leagues import Leagues
from worker.pipeline.ingest.match_rows import MatchFile, RowReader
from worker.pipeline.ingest.matches import Match, Status, prices_of, table_of
from worker.pipeline.ingest.merging import complete_seasons, merge_copies
from worker.pipeline.ingest.sources import MatchSource, find_sources, open_documents
from worker.pipeline.progress import Progress, SilentProgress

_SUGGESTIONS, _LIKENESS = 3, 60
_MID_SEASON = timedelta(days=60)  # after the season's first match: clubs do not join a league then
_FEWEST_SEASONS = 2  # of a division before a newcomer is worth a word


@dataclass(frozen=True, slots=True)
class Ingest:
    """All matches of a folder, the prices of all bookmakers on them, and what became of every row."""

    matches: pa.Table
    prices: pa.Table
    report: IngestReport


def read_folder(
    folder: Path, progress: Progress | None = None, *, now: datetime | None = None, aliases: Path | None = None
) -> Ingest:
    """Return every match of a folder as known at `now`; one bad file does not stop the others."""
    now = now or datetime.now(UTC)
    sources, left_alone = find_sources(folder)
    reader = RowReader(Leagues.of_folder(folder), ClubNames(read_aliases(aliases)), now)
    with _no_garbage_collection():
        return _read(sources, reader, left_alone, progress or SilentProgress(), now)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Save a quarter of the time: of millions of new cells and rows none is in a circle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read(
    sources: Sequence[MatchSource], reader: RowReader, left_alone: dict[str, str], progress: Progress, now: datetime
) -> Ingest:
    files: list[MatchFile] = []
    with progress.step("reading results", len(sources)) as advance:
        for source in sources:
            files.extend(reader.read(document) for document in open_documents(source))
            advance()
    report = IngestReport(files=[each.report for each in files], left_alone=left_alone)
    matches = merge_copies(files, now, report)
    played = [match for match in matches if match.score is not None]
    upcoming = [match for match in matches if match.status is Status.UPCOMING]
    complete_seasons((match for match in matches if match.score is None), _season_styles(played))
    report.n_upcoming = len(upcoming)
    report.n_awaiting = sum(1 for match in matches if match.status is Status.AWAITING_RESULT)
    clubs = _clubs(played)
    report.unknown_teams = _unknown_teams(upcoming, clubs)
    report.new_clubs = _unlikely_clubs(played, clubs)
    return Ingest(table_of(matches), prices_of(matches), report)


def _season_styles(matches: Iterable[Match]) -> dict[str, str]:
    newest: dict[str, Match] = {}
    for match in matches:
        known = newest.get(match.league.key)
        if known is None or match.kickoff > known.kickoff:
            newest[match.league.key] = match
    return {division: match.season for division, match in newest.items()}


def _clubs(matches: Iterable[Match]) -> dict[str, set[str]]:
    clubs: dict[str, set[str]] = defaultdict(set)
    for match in matches:
        clubs[match.league.region].update((match.home_team, match.away_team))
    return clubs


def _unknown_teams(upcoming: Iterable[Match], known: Mapping[str, set[str]]) -> list[UnknownTeam]:
    """Return clubs of coming matches that no season file of their country names, with the likest names it does."""
    missing = {
        (match.league.division, name, match.league.region)
        for match in upcoming
        for name in (match.home_team, match.away_team)
        if name not in known.get(match.league.region, set())
    }
    return [
        UnknownTeam(division, name, _suggest(name, sorted(known.get(region, set()))))
        for division, name, region in sorted(missing)
    ]


def _unlikely_clubs(played: Sequence[Match], known: Mapping[str, set[str]]) -> list[UnknownTeam]:
    """Return clubs that appear for the first time when a season is well under way: likelier another spelling."""
    starts: dict[tuple[str, str], date] = {}
    first: dict[tuple[str, str], Match] = {}
    seasons: dict[str, set[str]] = defaultdict(set)
    for match in played:
        key = match.league.division, match.season
        if (start := starts.get(key)) is None or match.day < start:
            starts[key] = match.day
            seasons[match.league.division].add(match.season)
        for name in (match.home_team, match.away_team):
            club = match.league.region, name
            if club not in first or match.day < first[club].day:
                first[club] = match
    unlikely = []
    for (region, name), match in first.items():
        division, season = match.league.division, match.season
        is_late = match.day - starts[division, season] > _MID_SEASON
        if is_late and season != min(seasons[division]) and len(seasons[division]) >= _FEWEST_SEASONS:
            others = sorted(known[region] - {name})
            unlikely.append(UnknownTeam(division, name, _suggest(name, others)))
    return unlikely


def _suggest(name: str, choices: Sequence[str]) -> tuple[str, ...]:
    likest = process.extract(name, choices, scorer=fuzz.WRatio, limit=_SUGGESTIONS, score_cutoff=_LIKENESS)
    return tuple(choice for choice, _, _ in likest)
