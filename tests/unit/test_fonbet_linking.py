"""Linking a bookmaker's matches to ours: the right one, or a reason."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.unit.test_fonbet import KICKOFF, event, feed, flat
from worker.pipeline.bookmaker_feed.fonbet import FeedMatch
from worker.pipeline.bookmaker_feed.import_odds import default_capture, main, spellings
from worker.pipeline.bookmaker_feed.linking import Linker, OurMatch, split_reserve_mark
from worker.pipeline.bookmaker_feed.spelling import likeness
from worker.pipeline.ingest.leagues import Leagues
from worker.pipeline.ingest.matches import Match, table_of

CAPTURED = KICKOFF - timedelta(hours=5)
ENGLAND = "Англия. Премьер-лига"


def our(match_id: int, home: str, away: str, region: str = "England", kickoff: datetime = KICKOFF) -> OurMatch:
    return OurMatch(match_id, kickoff, region, home, away)


def theirs(home: str, away: str, tournament: str = ENGLAND, *, is_live: bool = False, number: int = 1) -> FeedMatch:
    return FeedMatch(number, tournament, home, away, KICKOFF, (2.1, 3.4, 3.6), is_live)


OURS = [our(1, "Arsenal", "Chelsea"), our(2, "Burnley", "Everton"), our(3, "Lens", "Lille", "France")]


@pytest.mark.parametrize(
    ("home", "away", "tournament", "match_id"),
    [
        ("Арсенал", "Челси", ENGLAND, 1),
        ("Арсенал", "Челси", "Футбол. Англия. Премьер-Лига", 1),
        ("Arsenal FC", "Chelsea", "England. Premier League", 1),
        ("Бернли", "Эвертон", ENGLAND, 2),
        ("Ланс", "Лилль", "Франция. Лига 1", 3),
    ],
)
def test_names_in_either_alphabet_find_the_match(home: str, away: str, tournament: str, match_id: int) -> None:
    link = Linker(OURS, spellings()).link(theirs(home, away, tournament), CAPTURED)
    assert link.match is not None
    assert link.match.match_id == match_id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (theirs("Челси", "Арсенал"), "no_name_alike"),  # the other ground is another match
        (theirs("Арсенал", "Челси", "Франция. Лига 1"), "no_name_alike"),
        (theirs("Арсенал", "Челси", "Чехия. Суперлига"), "tournament_of_no_region_of_ours"),
        (theirs("Арсенал", "Челси", "Италия. Серия А"), "no_match_at_that_time"),
        (theirs("Арсенал", "Челси", "Жен. Англия. Суперлига"), "women_youth_or_reserve"),
        (theirs("Арсенал (р)", "Челси (р)"), "women_youth_or_reserve"),
        (theirs("Арсенал", "Челси", is_live=True), "in_play"),
        (theirs("Арсенал", "Эвертон"), "no_name_alike"),
    ],
)
def test_what_cannot_be_linked_says_why(line: FeedMatch, reason: str) -> None:
    link = Linker(OURS, spellings()).link(line, CAPTURED)
    assert (link.match, link.reason) == (None, reason)


def test_price_taken_after_kickoff_is_no_pre_match_price() -> None:
    assert Linker(OURS, spellings()).link(theirs("Арсенал", "Челси"), KICKOFF).reason == "in_play"


@pytest.mark.parametrize(("hours", "is_linked"), [(-2.0, True), (2.0, True), (2.1, False), (-2.1, False), (24, False)])
def test_kickoff_may_differ_within_the_tolerance(hours: float, is_linked: bool) -> None:
    moved = our(1, "Arsenal", "Chelsea", kickoff=KICKOFF + timedelta(hours=hours))
    assert (Linker([moved], spellings()).link(theirs("Арсенал", "Челси"), CAPTURED).match is not None) is is_linked


def test_two_matches_as_likely_are_ambiguous() -> None:
    twins = [our(1, "Univ. Craiova", "Otelul", "Romania"), our(2, "U Craiova", "Otelul", "Romania")]
    link = Linker(twins, spellings()).link(theirs("Крайова", "Оцелул", "Румыния. Суперлига"), CAPTURED)
    assert (link.match, link.reason) == (None, "ambiguous")
    assert len(link.candidates) == 2


def test_match_claimed_twice_is_claimed_by_nobody() -> None:
    line = [theirs("Арсенал", "Челси", number=1), theirs("Арсенал", "Челси", number=2)]
    links = Linker(OURS, spellings()).link_all(line, CAPTURED)
    assert [(link.match, link.reason) for link in links] == [(None, "ambiguous")] * 2


def test_alias_decides_alone() -> None:
    known = spellings()
    assert known.alike("Scotland", "Данди", "Dundee") == 100
    assert known.alike("Scotland", "Данди", "Dundee United") == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ливерпуль", "Liverpool"),
        ("Эвертон", "Everton"),
        ("Кембридж Юнайтед", "Cambridge"),
        ("Жил Висенте", "Gil Vicente"),
    ],
)
def test_same_club_sounds_alike(one: str, other: str) -> None:
    assert likeness(one, other) > 60


@pytest.mark.parametrize(("one", "other"), [("Арсенал", "Everton"), ("", "Everton"), ("ФК", "FC"), ("Милан", "Inter")])
def test_other_clubs_do_not_sound_alike(one: str, other: str) -> None:
    assert likeness(one, other) < 50


def matches_file(folder: Path) -> Path:
    """A matches table with Arsenal against Chelsea at KICKOFF."""
    league, _ = Leagues().get("E0")
    match = Match(league, KICKOFF.date(), KICKOFF, True, "2026/27", "Arsenal", "Chelsea", None, {}, None, "x.csv")
    pq.write_table(table_of([match]), folder / "matches.parquet")
    return folder / "matches.parquet"


def test_import_writes_odds_and_report(tmp_path: Path) -> None:
    line = feed(tmp_path, events=[event(7), event(8, team1="Тотнем")], customFactors=flat(7) + flat(8))
    out, report = tmp_path / "links" / "fonbet_odds.parquet", tmp_path / "report.json"
    options = ["--matches", str(matches_file(tmp_path)), "--out", str(out), "--report", str(report)]
    assert main([str(line), *options, "--captured-at", CAPTURED.isoformat()]) == 0
    (row,) = pq.read_table(out).to_pylist()
    assert (row["odds_home"], row["odds_draw"], row["odds_away"]) == (2.1, 3.4, 3.6)
    assert (row["bookmaker"], row["event_url"], row["captured_at"]) == ("Fonbet", None, CAPTURED)
    assert json.loads(report.read_text("utf-8"))["counts"] == {"linked": 1, "no_name_alike": 1}


def test_import_of_a_broken_feed_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "feed.json"
    broken.write_text("<html>")
    out = tmp_path / "out.parquet"
    assert main([str(broken), "--matches", str(matches_file(tmp_path)), "--out", str(out)]) == 1
    assert "Nothing imported" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("names", "captured"),
    [
        (["odds_2023-10-03.json.gz"], datetime(2023, 10, 4, tzinfo=UTC)),  # not before the day was over
        (["line_2026-09-10.json", "line_2026-09-12.json"], datetime(2026, 9, 13, tzinfo=UTC)),
        (["line_2026-09-12T14-05.json"], datetime(2026, 9, 12, 14, 5, tzinfo=UTC)),
        (["line_2026-09-12_140530.json"], datetime(2026, 9, 12, 14, 5, 30, tzinfo=UTC)),
        (["line_2099-01-01.json"], datetime(2026, 11, 30, tzinfo=UTC)),  # nothing counts from the future
    ],
)
def test_time_of_capture_is_what_the_newest_name_proves(names: list[str], captured: datetime) -> None:
    assert default_capture([Path(name) for name in names], datetime(2026, 11, 30, tzinfo=UTC)) == captured


def test_time_of_capture_is_that_of_writing_on_the_day_of_the_name(tmp_path: Path) -> None:
    path = tmp_path / "line_2026-09-12.json"
    path.write_text("{}")
    written = datetime(2026, 9, 12, 9, 30, tzinfo=UTC)
    os.utime(path, (written.timestamp(), written.timestamp()))
    assert default_capture([path], datetime(2026, 11, 30, tzinfo=UTC)) == written


OTHER_TEAMS = [
    ("Арсенал", "Челси", "Англия. Женщины. Суперлига"),
    ("Арсенал", "Челси", "Футбол. Жен. Англия. Суперлига"),
    ("Арсенал (ж)", "Челси (ж)", ENGLAND),
    ("Arsenal Women", "Chelsea Women", "England. WSL"),
    ("Арсенал", "Челси", "Футбол. До 21 года. Англия. Премьер-Лига 2"),
    ("Арсенал U21", "Челси U21", ENGLAND),
    ("Арсенал U-23", "Челси", ENGLAND),
    ("Арсенал", "Челси", "Англия. Примавера"),
    ("Арсенал-2", "Челси", ENGLAND),
    ("Арсенал", "Челси 2", ENGLAND),
    ("Арсенал II", "Челси II", ENGLAND),
    ("Арсенал Б", "Челси Б", ENGLAND),
    ("Arsenal B", "Chelsea B", ENGLAND),
    ("Арсенал (р)", "Челси (р)", ENGLAND),
    ("Арсенал", "Челси", "Англия. Резервная лига"),
    ("Арсенал дубль", "Челси дубль", ENGLAND),
    *(
        (f"Арсенал{mark}", f"Челси{mark}", ENGLAND)
        for mark in (" Ж", " жен", "-Ж", " мол", "-мол", " мол.", " (23)", " sub-20", "-Б", " C", " SRL", " (угловые)")
    ),
    *(
        ("Арсенал", "Челси", f"Англия. {tournament}")
        for tournament in ("ЖФЛ", "FA WSL", "МФЛ", "ЮФЛ-1", "Премьер-лига 2", "Premier League 2", "Sub 20", "Футзал")
    ),
    *(
        ("Арсенал", "Челси", f"{game}. Англия. Премьер-лига")
        for game in ("FC 25", "FIFA 23", "Киберфутбол", "Симулированная реальность", "Виртуальный футбол", "Ветераны")
    ),
    ("Йонг Арсенал", "Йонг Челси", ENGLAND),
    ("Jong Arsenal", "Jong Chelsea", ENGLAND),
    ("Арсенал Кастилья", "Челси Кастилья", ENGLAND),
]


@pytest.mark.parametrize(("home", "away", "tournament"), OTHER_TEAMS)
def test_other_sex_age_or_second_team_is_never_linked(home: str, away: str, tournament: str) -> None:
    link = Linker(OURS, spellings()).link(theirs(home, away, tournament), CAPTURED)
    assert (link.match, link.reason) == (None, "women_youth_or_reserve")


def test_second_team_is_linked_to_our_second_team_only() -> None:
    spain = "Испания. Сегунда"
    ours = [our(1, "Sociedad B", "Celta B", "Spain"), our(2, "Sociedad", "Celta", "Spain")]
    second = Linker(ours, spellings()).link(theirs("Сосьедад-2", "Сельта 2", spain), CAPTURED)
    first = Linker(ours, spellings()).link(theirs("Сосьедад", "Сельта", spain), CAPTURED)
    assert (second.match, first.match) == (ours[0], ours[1])


@pytest.mark.parametrize("name", ["Шальке 04", "Ганновер 96", "Б-93 Копенгаген", "Schalke 04", "Mainz 05", "1860"])
def test_number_of_a_year_is_no_mark_of_a_second_team(name: str) -> None:
    assert split_reserve_mark(name) == (name, False)
