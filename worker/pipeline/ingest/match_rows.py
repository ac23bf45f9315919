"""Read the rows of one table as matches: the one place where cells become dates, clubs, scores and prices."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from app.domain.prices import MIN_OTHERS
from worker.pipeline.ingest import dates
from worker.pipeline.ingest.alignment import align_row, middle_offer, read_offers
from worker.pipeline.ingest.club_names import ClubNames, tidy
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.layouts import Layout
from worker.pipeline.ingest.leagues import League, Leagues
from worker.pipeline.ingest.matches import Match, Status
from worker.pipeline.ingest.price_triples import Triple, contradicts, parse_triple
from worker.pipeline.ingest.sources import Document, UnreadableFile
from worker.pipeline.ingest.tables import HeaderBlock, split_table

_RESULT_LETTERS = {"H": 1, "D": 0, "A": -1, "HOME": 1, "DRAW": 0, "AWAY": -1, "1": 1, "X": 0, "0": 0, "2": -1}
_OWN_LETTERS = frozenset("HDA")
# what stands in the place of a result letter, or as a note, when a match did not end as matches do
_MARKS = tuple(
    (re.compile(pattern, re.IGNORECASE), status)
    for pattern, status in (
        (r"aband|abd$|abn$|susp|abgebroch|sospes|interrupt|interromp", Status.ABANDONED),
        (
            r"award|awd$|walk.?over|w\.?/?o\.?$|forfeit|default|wertung|gr.nen? tisch|tavolino|tapis vert",
            Status.AWARDED,
        ),
        (r"postp|pst$|pp?$|ppd$|rinviat|aplazad|verschob|verlegt|reporté|adiad|uitgesteld", Status.POSTPONED),
        (r"cancel|canc|annul|anulad|\bvoid|abgesagt|expunged", Status.CANCELLED),
    )
)
# a score of more than 90 minutes, and one of fewer
_GOES_ON = re.compile(
    r"aet$|ap$|pens?\.?$|.*(a\.e\.t|extra.?time|shoot.?out|(after|on|by) pen|\d pens?\b)|n\.? ?v\.?$|i\.? ?e\.?$",
    re.IGNORECASE,
)
_NOT_OVER = re.compile(
    r"(ns|not.started|scheduled|timed|upcoming|fixture|tb[acd]|ht|half.?time|[12]h|(first|1st|second|2nd) half|int|live"
    r"|in.?play|in.progress|paused|playing|\d+(\+\d+)?['’])$",
    re.IGNORECASE,
)
_SCORE = re.compile(
    r"(\d{1,2})\s*[-–—:]\s*(\d{1,2})(?:\s*\((?:ht\s*)?\d{1,2}\s*[-–—:]\s*\d{1,2}\))?\s*(.*)$", re.IGNORECASE
)
_NO_CLUB = re.compile(r"\d+([.,:-]\d+)?$")  # a price, a score or a time: the columns are others than their names say
_FEWEST_AGAINST = 5  # results of a file that its letters turn round, before they say that its goals are
_AWARDED_SCORES = {(3, 0), (0, 3), (5, 0), (0, 5)}
_HALVES_KNOWN = 0.9  # of a table's results with a half-time score: above it a missing one says something
_FURTHEST_AHEAD = timedelta(days=400)  # no list reaches further
_LARGEST_SHARE_OUTSIDE = 0.1  # of a file's rows outside the season of its name: more, and the name is wrong
_LONELY = timedelta(days=300)  # from every other match of the file
_LARGEST_SHARE_LONELY = 0.1  # of a file's matches: a whole round on a day of its own is no slip of the pen
_FEWEST_TO_JUDGE = 20
_YES = {"1", "1.0", "y", "yes", "t", "true", "neutral"}
_NO = {"", "0", "0.0", "n", "no", "f", "false", "-", "na", "n/a", "nan", "none", "null"}
_UNKNOWN_TIMES = {"tbc", "tbd", "tba", "?", "-", "--:--", "n/a", "na", "nan"}


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the fields of a row are."""

    division: int
    country: int
    league: int
    season: int
    date: int
    time: int
    home_team: int
    away_team: int
    home_score: int
    away_score: int
    score: int
    result: int
    half_home: int
    neutral: int
    extra_time: int
    penalties: int
    note: int


class SkippedRow(Exception):
    """A row that is no match; the argument is the cause."""


@dataclass(frozen=True, slots=True)
class MatchFile:
    """The matches of one table, and whether any of its rows has a result."""

    report: FileReport
    matches: Sequence[Match] = ()
    has_results: bool = False


class RowReader:
    """Turns documents into matches, and counts what it skips and repairs."""

    def __init__(self, leagues: Leagues, names: ClubNames, now: datetime) -> None:
        self._leagues = leagues
        self._names = names
        self._now = now

    def read(self, document: Document) -> MatchFile:
        """Return all matches of a document; one that cannot be read is a fault in its report."""
        report = FileReport(document.name)
        try:
            if document.fault is not None:
                raise document.fault
            table = split_table(document, report)
        except UnreadableFile as fault:
            report.rows_in = 0
            report.skipped.clear()
            report.fault, report.detail = fault.cause, fault.detail
            return MatchFile(report)
        for repair in document.repairs:
            report.repair(repair)
        matches: list[Match] = []
        for block in table.blocks:
            rows = _BlockReader(self._leagues, self._names, self._now, block, report)
            matches.extend(rows.read(table.separator))
        matches = _drop_lonely(matches, report)
        report.matches = len(matches)
        return MatchFile(report, matches, any(each.score for each in matches))


def _drop_lonely(matches: list[Match], report: FileReport) -> list[Match]:
    """Refuse the few matches that lie years from all others of their file: a year was mistyped."""
    if len(matches) < _FEWEST_TO_JUDGE:
        return matches
    days = sorted({match.day for match in matches})
    lonely = {
        day
        for before, day, after in zip([date.min, *days], days, [*days[1:], date.max], strict=False)
        if day - before > _LONELY and after - day > _LONELY
    }
    far = [match for match in matches if match.day in lonely]
    if len(far) > _LARGEST_SHARE_LONELY * len(matches):
        return matches
    for match in far:
        report.skip("date_far_from_others", match.line)
    return [match for match in matches if match.day not in lonely]


class _BlockReader:
    """The rows under one header."""

    def __init__(
        self, leagues: Leagues, names: ClubNames, now: datetime, block: HeaderBlock, report: FileReport
    ) -> None:
        self._leagues = leagues
        self._names = names
        self._last_day = (now + _FURTHEST_AHEAD).date()
        self._today = now.date()
        self._last_result = now + timedelta(days=1)
        self._block = block
        self._layout: Layout = block.layout
        # a column that the header lacks is the empty cell that every row gets behind its last
        self._at = _Places(**{name: block.layout.fields.get(name, -1) for name in _Places.__dataclass_fields__})
        self._has_divisions = "division" in block.layout.fields
        self._report = report
        self._folder_year = dates.folder_year(report.path) if self._has_divisions else None
        self._season_year = self._folder_year
        self._line = 0
        self._n_letters = self._n_turned = 0  # decisive results with a letter, and those it gives to the other side
        self._neutral = _YES
        self._has_extra_time = max(self._at.extra_time, self._at.penalties) >= 0

    def read(self, separator: str) -> list[Match]:
        """Align every row, judge the dates of all, and read what is a match."""
        rows = list(self._align(separator))
        self._judge_dates(rows)
        self._judge_venues(rows)
        matches = []
        for self._line, cells in rows:
            try:
                matches.append(self._read_row(cells))
            except SkippedRow as skipped:
                self._report.skip(str(skipped), self._line)
        self._mark_awarded(matches)
        return self._judge_results(matches)

    def _judge_results(self, matches: list[Match]) -> list[Match]:
        """Refuse all results of a table whose letters say for most that the goals are under the other side's name."""
        if self._n_turned < _FEWEST_AGAINST or 2 * self._n_turned < self._n_letters:
            return matches
        for match in matches:
            if match.score is not None:
                self._report.skip("letters_against_goals", match.line)
        return [match for match in matches if match.score is None]

    def _align(self, separator: str) -> "list[tuple[int, list[str]]]":
        n_columns = self._layout.n_columns
        aligned = []
        for line, cells in self._block.rows:
            whole = cells if len(cells) == n_columns else self._fit(line, cells, separator)
            if whole is not None:
                whole.append("")  # stands for every column that the header lacks
                aligned.append((line, whole))
        return aligned

    def _fit(self, line: int, cells: list[str], separator: str) -> list[str] | None:
        whole, repair = align_row(self._layout, cells, separator)
        if whole is None:
            self._report.skip("row_does_not_fit", line)
            return None
        if repair is not None:
            self._report.repair(repair, line)
        return whole + [""] * (self._layout.n_columns - len(whole))

    def _judge_dates(self, rows: Sequence[tuple[int, list[str]]]) -> None:
        at = self._at
        texts = [cells[at.date].strip() for _, cells in rows]
        self._days, self._ambiguous, order = dates.judge_dates(
            texts, self._folder_year, self._played(rows), self._today
        )
        if order != "dmy":
            self._report.repair("dates_month_first" if order == "mdy" else "dates_year_first")
        clocks = {clock for text in self._days if (clock := dates.split_clock(text)[1])}
        self._has_clocks = not all(dates.is_midnight(clock) for clock in clocks)
        if self._season_year is not None:
            year = self._season_year
            known = [day for text in texts if (day := self._days[text]) is not None]
            outside = sum(1 for day in known if not dates.is_in_season(day, year))
            if outside > _LARGEST_SHARE_OUTSIDE * len(known):
                self._report.repair("file_holds_other_seasons")
                self._season_year = None

    def _played(self, rows: Sequence[tuple[int, list[str]]]) -> set[str]:
        """Return the dates of rows with goals."""
        at = self._at
        return {cells[at.date].strip() for _, cells in rows if cells[at.home_score].strip() or cells[at.score].strip()}

    def _judge_venues(self, rows: Sequence[tuple[int, list[str]]]) -> None:
        """N alone in its column marks a neutral venue; beside Y it is a no."""
        if self._at.neutral >= 0 and not any(cells[self._at.neutral].strip().lower() in _YES for _, cells in rows):
            self._neutral = {"n"}

    def _read_row(self, cells: list[str]) -> Match:
        """Return the match of a row; raise SkippedRow with the cause."""
        home, away = cells[self._at.home_team].strip(), cells[self._at.away_team].strip()
        if not (home and away):
            raise SkippedRow("missing_team")
        if _NO_CLUB.match(home) or _NO_CLUB.match(away):
            raise SkippedRow("bad_team")
        day = self._read_day(cells)
        league = self._read_league(cells)
        home, away = self._canonical(league.region, home), self._canonical(league.region, away)
        if home == away:
            raise SkippedRow("same_team_twice")
        season = self._read_season(cells, day)
        score, status = self._read_result(cells)
        at, offset = self._read_time(cells)
        kickoff = dates.kickoff_utc(day, at, offset)
        if score is not None and kickoff > self._last_result:
            raise SkippedRow("result_in_future")
        prices, is_unsound = self._read_prices(cells)
        return Match(
            league=league,
            day=day,
            kickoff=kickoff,
            has_time=at is not None,
            season=season,
            home_team=home,
            away_team=away,
            score=score,
            prices=prices,
            captured_at=None,
            source_file=self._report.path,
            status=status,
            line=self._line,
            is_unsound=is_unsound,
            is_neutral=cells[self._at.neutral].strip().lower() in self._neutral,
            half_time_known=cells[self._at.half_home].strip().lower() not in _NO_GOALS,
        )

    def _read_day(self, cells: list[str]) -> date:
        text = cells[self._at.date].strip()
        day = self._days[text]
        if text in self._ambiguous:
            raise SkippedRow("ambiguous_date")
        if day is None:
            raise SkippedRow("bad_date")
        if day > self._last_day:
            raise SkippedRow("date_too_far_ahead")
        if self._season_year is not None and not dates.is_in_season(day, self._season_year):
            raise SkippedRow("date_outside_season")
        return day

    def _read_time(self, cells: list[str]) -> dates.Reading:
        text = cells[self._at.time].strip()
        if not text and self._has_clocks:
            text = dates.split_clock(cells[self._at.date].strip())[1]
        if not text:
            return None, None
        at, offset = dates.parse_time(text)
        if at is None:
            self._report.repair("time_unknown" if text.lower() in _UNKNOWN_TIMES else "bad_time", self._line)
        return at, offset

    def _read_league(self, cells: list[str]) -> League:
        if division := cells[self._at.division].strip(" \t\u00a0\ufeff"):
            league, is_known = self._leagues.get(division)
        elif country := tidy(cells[self._at.country].strip()):
            league, is_known = self._leagues.find_named(country, tidy(cells[self._at.league].strip()))
        else:
            raise SkippedRow("missing_division")
        if not is_known:
            self._report.repair("league_of_its_own", self._line)
        return league

    def _canonical(self, region: str, name: str) -> str:
        canonical = self._names.canonical(region, name)
        if canonical != name:
            self._report.repair("alias_applied", self._line)
        return canonical

    def _read_season(self, cells: list[str], day: date) -> str:
        text = cells[self._at.season].strip()
        if not text:
            return dates.split_season(day, self._folder_year) if self._has_divisions else str(day.year)
        season = dates.parse_season(text, day)
        if season is None:
            self._report.repair("unknown_season", self._line)
            return dates.split_season(day, self._folder_year) if self._has_divisions else str(day.year)
        if not dates.is_in_named_season(day, season):
            raise SkippedRow("date_outside_season")
        return season

    def _read_result(self, cells: list[str]) -> tuple[tuple[int, int] | None, Status]:
        """Return the score, and how the match ended as far as its row says; upcoming until that is known."""
        score = self._read_score(cells)
        letter = cells[self._at.result].strip().upper()
        mark = self._read_mark(cells, letter)
        if mark is not None:
            return (score if mark in {Status.AWARDED, Status.ABANDONED} else None), mark
        if score is None:
            return None, Status.UPCOMING
        note = cells[self._at.note].strip()
        if _NOT_OVER.match(note):
            self._report.repair("score_not_final", self._line)
            return None, Status.UPCOMING
        if _GOES_ON.match(note) or _GOES_ON.match(letter) or (self._has_extra_time and self._goes_on(cells)):
            raise SkippedRow("score_after_extra_time")
        if letter and letter.lower() not in _NOT_KNOWN and not _SCORE.match(letter):
            sign = _RESULT_LETTERS.get(letter)
            if sign is None:
                self._report.repair("unknown_result_letter", self._line)
                return None, Status.UPCOMING
            self._compare(letter, sign, (score[0] > score[1]) - (score[0] < score[1]))
        return score, Status.FINISHED

    def _compare(self, letter: str, sign: int, by_goals: int) -> None:
        if letter in _OWN_LETTERS and by_goals:
            self._n_letters += 1
            self._n_turned += sign == -by_goals
        if sign != by_goals:
            self._report.repair("result_against_score", self._line)  # the goals stand

    def _goes_on(self, cells: list[str]) -> bool:
        """Whether a row says that its score is that of extra time, or has the score of a shoot-out."""
        return any(cells[at].strip().lower() not in _NO for at in (self._at.extra_time, self._at.penalties))

    def _read_mark(self, cells: list[str], letter: str) -> Status | None:
        if letter not in _RESULT_LETTERS and letter and (status := _status_of(letter)):
            return self._count_mark(status)
        layout = self._layout
        beyond = cells[layout.n_columns : -1]
        if layout.unnamed:
            beyond += [cells[place] for place in layout.unnamed]
        if self._at.note >= 0:
            beyond.append(cells[self._at.note])
        for text in beyond:
            if len(text) > 2 and (status := _status_of(text.strip())):
                return self._count_mark(status)
        return None

    def _count_mark(self, status: Status) -> Status:
        self._report.repair(f"marked_{status}", self._line)
        return status

    def _read_score(self, cells: list[str]) -> tuple[int, int] | None:
        goals = cells[self._at.home_score], cells[self._at.away_score]
        try:
            home, away = int(goals[0]), int(goals[1])
        except ValueError:
            if all(goal.strip().lower() in _NO_GOALS for goal in goals):
                return self._read_score_text(cells)
            home, away = (_whole_number(goal) for goal in goals)
        if not (0 <= home < 100 and 0 <= away < 100):
            raise SkippedRow("bad_score")
        return home, away

    def _read_score_text(self, cells: list[str]) -> tuple[int, int] | None:
        """Return the score of a single cell, `2-1` or `2:1 (1:0)`, in a column of its own or that of the result."""
        text = cells[self._at.score].strip()
        found = _SCORE.match(text or cells[self._at.result].strip())
        if found is None:
            if text.lower() in _NO_GOALS:
                return None
            raise SkippedRow("bad_score")
        if _GOES_ON.match(found[3]):
            raise SkippedRow("score_after_extra_time")
        if found[3]:
            raise SkippedRow("bad_score")
        return int(found[1]), int(found[2])

    def _read_prices(self, cells: list[str]) -> tuple[dict[str, Triple], bool]:
        prices = {}
        for book, columns in self._layout.triples.items():
            triple, fault = parse_triple(cells, columns)
            if triple is not None:
                prices[book] = triple
            elif fault is not None:
                self._report.repair(fault, self._line)
        own = prices.get("b365")
        if own is None or not self._is_contradicted(own, prices.get("avg"), cells):
            return prices, False
        self._report.repair("odds_contradict_others", self._line)
        return prices, True

    def _is_contradicted(self, own: Triple, average: Triple | None, cells: list[str]) -> bool:
        if average is not None:
            return contradicts(own, average)
        others = [offer for offer in read_offers(self._layout.offers, cells) if offer is not own]
        return len(others) >= MIN_OTHERS and contradicts(own, middle_offer(others))

    def _mark_awarded(self, matches: Sequence[Match]) -> None:
        """Mark scores by the book: no half-time score in a table that has them, and a score that only books give."""
        if self._at.half_home < 0:
            return
        finished = [match for match in matches if match.status is Status.FINISHED]
        known = sum(1 for match in finished if match.half_time_known)
        if known <= _HALVES_KNOWN * len(finished):
            return
        for match in finished:
            if not match.half_time_known and match.score in _AWARDED_SCORES:
                match.status = Status.AWARDED
                self._report.repair("marked_awarded", match.line)


_NOT_KNOWN = frozenset({"na", "n/a", "nan", "none", "null"})
_NO_GOALS = _NOT_KNOWN | {"", "-", "?", "p", "-:-", "vs", "v"}


def _whole_number(text: str) -> int:
    """Return a count of goals, `2.0` of a spreadsheet included; -1 for what is none."""
    try:
        number = float(text)
    except ValueError:
        return -1
    return int(number) if number.is_integer() and "_" not in text else -1


def _status_of(text: str) -> Status | None:
    return next(
        (status for pattern, status in _MARKS if pattern.match(text) or (len(text) > 3 and pattern.search(text))), None
    )
