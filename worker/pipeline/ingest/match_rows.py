"""The rows of one file as matches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from worker.pipeline.ingest import dates
from worker.pipeline.ingest.club_names import Teams, tidy
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.layouts import Layout, identify
from worker.pipeline.ingest.leagues import League, Leagues
from worker.pipeline.ingest.matches import Match, Status
from worker.pipeline.ingest.price_triples import Triple, parse_triple
from worker.pipeline.ingest.sources import Cells, Source, UnreadableFile, read_cells

_RESULT_LETTERS = {"H": 1, "D": 0, "A": -1}


class SkippedRow(Exception):
    """A row that is no match; the argument is the cause."""


@dataclass(frozen=True, slots=True)
class MatchFile:
    """What one file gave; `is_list` when it lists coming matches."""

    source: Source
    report: FileReport
    matches: Sequence[Match] = ()
    is_list: bool = False


class RowReader:
    """Turns rows of cells into matches, and counts what it skips and repairs."""

    def __init__(self, leagues: Leagues, teams: Teams) -> None:
        self._leagues = leagues
        self._teams = teams

    def read(self, source: Source) -> MatchFile:
        """All matches of a file; a file that cannot be read is a fault in its report."""
        report = FileReport(source.name)
        try:
            cells = read_cells(source)
            layout = identify(cells.header)
        except UnreadableFile as fault:
            report.fault, report.detail = fault.cause, fault.detail
            return MatchFile(source, report)
        matches = self._matches(source, cells, layout, report)
        is_list = source.is_list or not layout.has_scores or not any(each.score for each in matches)
        if not is_list:
            _mark_unplayed(matches, report.repaired)
        return MatchFile(source, report, matches, is_list)

    def _matches(self, source: Source, cells: Cells, layout: Layout, report: FileReport) -> list[Match]:
        report.rows_in = len(cells.rows)
        if cells.is_repaired:
            report.repaired["repaired_encoding"] += 1
        row_of = _Row(self._leagues, self._teams, source, layout, report.repaired)
        matches = []
        for row in cells.rows:
            try:
                matches.append(row_of.match(row))
            except SkippedRow as skipped:
                report.skipped[str(skipped)] += 1
        report.matches = len(matches)
        return matches


class _Row:
    """One row after the other of one file."""

    def __init__(self, leagues: Leagues, teams: Teams, source: Source, layout: Layout, repaired: Counter[str]) -> None:
        self._leagues = leagues
        self._teams = teams
        self._name = source.name
        self._folder_year = dates.folder_year(source.name)
        self._width = layout.width
        self._column = layout.fields
        self._triples = layout.triples
        self._repaired = repaired

    def match(self, row: list[str]) -> Match:
        """The match of a row; raises SkippedRow with the cause."""
        self._squared(row)
        names = self._cell(row, "home_team"), self._cell(row, "away_team")
        if not all(names):
            raise SkippedRow("missing_team")
        day = dates.parse_date(self._cell(row, "date"))
        if day is None:
            raise SkippedRow("bad_date")
        league = self._league(row)
        home, away = (self._team(league.region, name) for name in names)
        if home == away:
            raise SkippedRow("same_team_twice")
        return self._match(row, league, day, (home, away))

    def _match(self, row: list[str], league: League, day: date, names: tuple[str, str]) -> Match:
        at = dates.parse_time(self._cell(row, "time"))
        kickoff = dates.kickoff_utc(day, at)
        prices = self._prices(row)
        return Match(
            league=league,
            day=day,
            kickoff=kickoff,
            has_time=at is not None,
            season=self._season(row, day),
            home_team=names[0],
            away_team=names[1],
            score=self._score(row),
            prices=prices,
            captured_at=None,
            source_file=self._name,
        )

    def _squared(self, row: list[str]) -> None:
        if not any(cell and not cell.isspace() for cell in row):
            raise SkippedRow("blank_row")
        if len(row) > self._width:
            self._repaired["ragged_row_long"] += 1
        elif len(row) < self._width:
            self._repaired["ragged_row_short"] += 1
            row.extend([""] * (self._width - len(row)))

    def _cell(self, row: list[str], field: str) -> str:
        position = self._column.get(field)
        return "" if position is None else row[position].strip()

    def _league(self, row: list[str]) -> League:
        if division := self._cell(row, "division"):
            return self._leagues.get(division)
        country = tidy(self._cell(row, "country"))
        if not country:
            raise SkippedRow("missing_division")
        return self._leagues.of_region(country) or self._leagues.get(country)

    def _team(self, region: str, name: str) -> str:
        canonical = self._teams.canonical(region, name)
        if canonical != name:
            self._repaired["alias_applied"] += 1
        return canonical

    def _season(self, row: list[str], day: date) -> str:
        if "division" in self._column:
            return dates.split_season(day, self._folder_year)
        return dates.named_season(self._cell(row, "season")) or str(day.year)

    def _score(self, row: list[str]) -> tuple[int, int] | None:
        goals = self._cell(row, "home_score"), self._cell(row, "away_score")
        if not any(goals):
            return None
        try:
            home, away = (int(float(each)) for each in goals)
        except (ValueError, OverflowError):
            home = away = -1
        if not (0 <= home < 100 and 0 <= away < 100):
            self._repaired["bad_score"] += 1
            return None
        letter = _RESULT_LETTERS.get(self._cell(row, "result"))
        if letter is not None and letter != (home > away) - (home < away):
            self._repaired["result_against_score"] += 1  # the goals stand
        return home, away

    def _prices(self, row: list[str]) -> dict[str, Triple]:
        prices = {}
        for book, (home, draw, away) in self._triples.items():
            triple = parse_triple((row[home], row[draw], row[away]), self._repaired)
            if triple is not None:
                prices[book] = triple
        return prices


def _mark_unplayed(matches: Sequence[Match], repaired: Counter[str]) -> None:
    """A season file holds what was played: a row without a score was called off or annulled."""
    for match in matches:
        if match.score is None:
            match.status = Status.CANCELLED
            repaired["missing_score"] += 1
