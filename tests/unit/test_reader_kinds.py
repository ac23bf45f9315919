"""Other members of the kinds of files that once gave wrong numbers: each a small file, and what is right for it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.build_results import LIST_HEAD, NEW_HEAD, rows_of, write
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.reader import read_folder

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
BARE = "Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR"


def only(folder: Path) -> tuple[list[dict[str, Any]], FileReport]:
    """Return the matches and the report of a folder that holds one file, in the order of the clubs' names."""
    ingest = read_folder(folder, now=NOW)
    (report,) = ingest.report.files
    assert report.is_balanced
    assert report.matches == ingest.matches.num_rows
    return sorted(rows_of(ingest), key=lambda row: str(row["home_team"])), report


@pytest.mark.parametrize("head", [LIST_HEAD, BARE], ids=["list", "results"])
def test_round_on_one_day_is_whole(tmp_path: Path, head: str) -> None:
    """A file of twenty matches or more, all on one Saturday, as lists are."""
    day, rest = ("05/12/2026", "15:00,{},{},2.3,3.3,3.1") if head == LIST_HEAD else ("28/11/2026", "{},{},1,0,H")
    write(tmp_path, "E2.csv", head, *(f"E2,{day}," + rest.format(f"Home {n}", f"Away {n}") for n in range(24)))
    matches, report = only(tmp_path)
    assert (len(matches), dict(report.skipped)) == (24, {})


DAYS = [
    *("16/08/2024", "16/08/24", "16.8.2024", "16. 8. 2024.", "2024-08-16", "2024.08.16", "20240816", "16-Aug-24"),
    *("Fri 16/08/2024", "Fri 16 Aug 2024", "Friday, 16 August 2024", "16th August 2024", "August 16 2024"),
    *("Aug 16, 2024", "Friday, August 16, 2024", "16 août 2024", "16 de agosto de 2024", "16. August 2024"),
    *("45520", "45520.0", "2024-08-16 00:00:00", "2024-08-16T00:00:00Z"),
]


@pytest.mark.parametrize("text", DAYS)
def test_spellings_of_one_day(tmp_path: Path, text: str) -> None:
    write(tmp_path, "E0.csv", BARE, f'E0,"{text}",Man United,Fulham,1,0,H')
    (match,), report = only(tmp_path)
    assert (match["kickoff_utc"], match["has_time"]) == (datetime(2024, 8, 16, 14, tzinfo=UTC), False)
    assert not report.repaired


NO_DAYS = [
    *("16 marraskuu 2024", "16 Juno 2024", "18/08/0024", "18/08/204", "16 2024", "99999", "1754697600", "29/02/2023"),
    *("Aug 2024", "16/16/2024", "2024-13-01", "soon 16"),
]


@pytest.mark.parametrize("text", NO_DAYS)
def test_what_is_no_day_is_named(tmp_path: Path, text: str) -> None:
    """Finnish November begins like our March, and a year of four digits is no year of two."""
    write(tmp_path, "E0.csv", BARE, f"E0,{text},Man United,Fulham,1,0,H")
    matches, report = only(tmp_path)
    assert (matches, dict(report.skipped)) == ([], {"bad_date": 1})


CLOCKS = {
    "2024-08-16T19:00:00Z": 19,
    "2024-08-16T21:00:00+02:00": 19,
    "2024-08-16 20:00:00": 19,
    "2024-08-16T20:00": 19,
    "16/08/2024 20:00": 19,
    "Fri 16 Aug 2024 8:00 PM": 19,
    "45520.8333333": 19,
}


@pytest.mark.parametrize("text", CLOCKS)
def test_time_of_day_in_the_cell_of_the_date(tmp_path: Path, text: str) -> None:
    write(tmp_path, "E0.csv", BARE, f"E0,{text},Man United,Fulham,1,0,H")
    (match,), _ = only(tmp_path)
    assert (match["kickoff_utc"], match["has_time"]) == (datetime(2024, 8, 16, CLOCKS[text], tzinfo=UTC), True)


TIMES = {
    **dict.fromkeys(("20:00 Uhr", "20u00", "20h", "20:00h", "0,8333333", "2000.0", "20:00 UTC", "20:00Z"), "20:00"),
    **{"20:00 UTC+2": "18:00", "20:00 GMT-3": "23:00", "20:00+05:30": "14:30", "20:00-0300": "23:00"},
    **dict.fromkeys(("24:00", "20:00 CET", "20.0", "Postponed", "1900-01-01 20:00:00", "25:61"), None),
}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_read_or_named(tmp_path: Path, text: str) -> None:
    write(tmp_path, "E2.csv", LIST_HEAD, f'E2,05/12/2026,"{text}",Plymouth,Stockport,2.3,3.3,3.1')
    (match,), report = only(tmp_path)
    assert f"{match['kickoff_utc']:%H:%M}" == (TIMES[text] or "15:00")
    assert dict(report.repaired) == ({} if TIMES[text] else {"bad_time": 1})


def test_years_of_two_digits_in_front_are_told_by_the_days(tmp_path: Path) -> None:
    days = [f"24/{month:02d}/{day:02d}" for month in (8, 9, 10) for day in (3, 11, 24, 30)]
    write(tmp_path, "E2.csv", BARE, *(f"E2,{day},Home {day},Visitor,1,0,H" for day in days))
    matches, report = only(tmp_path)
    assert [f"{row['kickoff_utc']:%y/%m/%d}" for row in matches] == days
    assert report.repaired == {"dates_year_first": 1}


def test_results_to_come_say_that_the_month_is_first(tmp_path: Path) -> None:
    rows = [f"E2,{day}/2026,Home {day},Visitor,1,0,H" for day in ("08/12", "09/12", "10/11")]
    write(tmp_path, "E2.csv", BARE, *rows)
    matches, report = only(tmp_path)
    assert [f"{row['kickoff_utc']:%d/%m}" for row in matches] == ["12/08", "12/09", "11/10"]
    assert report.repaired == {"dates_month_first": 1}


def test_list_that_is_old_in_one_order_and_coming_in_the_other_is_refused(tmp_path: Path) -> None:
    rows = [f"E2,{day}/2026,15:00,Home {day},Visitor,2.3,3.3,3.1" for day in ("12/05", "12/06")]
    write(tmp_path, "fixtures.csv", LIST_HEAD, *rows)
    matches, report = only(tmp_path)
    assert (matches, dict(report.skipped)) == ([], {"ambiguous_date": 2})


HEADS = [
    ("Div,Date,HomeTeam,AwayTeam,Score", "2-1"),
    ("Div,Date,Home,Away,FT,HT", "2:1,1-0"),
    ("Div,Date,home_team,away_team,result", "2-1 (1-0)"),
    ("DIV,Match Date,Home Team,Away Team,home_goals,away_goals", "2,1"),
    ("Div,Date,home.team,away.team,Home Score,Away Score,Result", "2,1,H"),
    ("Div,Date,HT,AT,HG,AG,Res", "2,1,1"),
    ("Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR", "2,1,Home"),
    ("Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR", "2.0,1.0,nan"),
    ("Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR,Status", "2,1,H,FT"),
]


@pytest.mark.parametrize(("head", "cells"), HEADS)
def test_results_under_other_names_and_in_one_cell(tmp_path: Path, head: str, cells: str) -> None:
    write(tmp_path, "E2.csv", head, f"E2,22/08/2026,Barnsley,Bolton,{cells}")
    (match,), report = only(tmp_path)
    assert (match["home_team"], match["home_score"], match["away_score"], match["outcome"]) == ("Barnsley", 2, 1, 0)
    assert not report.repaired


@pytest.mark.parametrize("cell", ["2-1 aet", "2-1 n.V.", "2-1 (1-0) 4-2 pens"])
def test_score_text_after_extra_time_is_no_result(tmp_path: Path, cell: str) -> None:
    write(tmp_path, "E2.csv", "Div,Date,HomeTeam,AwayTeam,Score", f"E2,22/08/2026,Barnsley,Bolton,{cell}")
    matches, report = only(tmp_path)
    assert (matches, dict(report.skipped)) == ([], {"score_after_extra_time": 1})


NOTES = {
    **dict.fromkeys(
        ("AET", "PEN", "after extra time", "4-2 pens", "won on penalties", "n.V."), "score_after_extra_time"
    ),
    **dict.fromkeys(("HT", "1H", "Live", "In Play", "IN_PLAY", "67'", "NS", "Scheduled", "TIMED"), "score_not_final"),
    **dict.fromkeys(("abgebrochen", "sospesa", "Suspended"), "marked_abandoned"),
    **dict.fromkeys(("Wertung", "am grünen Tisch", "3-0 a tavolino", "tapis vert"), "marked_awarded"),
    **dict.fromkeys(("rinviata", "aplazado", "PPD"), "marked_postponed"),
    **dict.fromkeys(("abgesagt", "match void"), "marked_cancelled"),
    **dict.fromkeys(("FT", "Finished", "unavoidable delay", "a penalty missed", "behind closed doors", "3"), ""),
}


@pytest.mark.parametrize("note", NOTES)
def test_note_says_what_a_score_is_worth(tmp_path: Path, note: str) -> None:
    write(tmp_path, "E2.csv", BARE + ",Status", f"E2,29/11/2026,Barnsley,Bolton,1,0,H,{note}")
    matches, report = only(tmp_path)
    assert dict(report.skipped + report.repaired) == ({NOTES[note]: 1} if NOTES[note] else {})
    assert [row["outcome"] for row in matches] == (
        [] if NOTES[note] == "score_after_extra_time" else [None if NOTES[note] else 0]
    )


def test_goals_under_the_other_side_are_refused(tmp_path: Path) -> None:
    """The letters of nearly all rows say that the columns of goals are swapped: neither can be trusted."""
    head = BARE.replace("FTHG,FTAG", "FTAG,FTHG")
    write(tmp_path, "E2.csv", head, *(f"E2,{day:02d}/08/2026,Home {day},Visitor,2,0,H" for day in range(1, 10)))
    matches, report = only(tmp_path)
    assert (matches, report.skipped["letters_against_goals"]) == ([], 9)


def test_prices_are_no_clubs(tmp_path: Path) -> None:
    write(tmp_path, "E2.csv", "Div,Date,HT,AT,HG,AG,Home,Draw,Away", "E2,22/08/2026,Bury,Leeds,1,0,2.1,3.4,3.5")
    matches, report = only(tmp_path)
    assert (matches, dict(report.skipped)) == ([], {"bad_team": 1})


@pytest.mark.parametrize("prices", ["2,05,3,40,3,60", "2,10,3,40,3,50", "1,50,4,33,6,50"])
def test_decimal_commas_without_quotes_are_no_prices(tmp_path: Path, prices: str) -> None:
    """Of 2,05 3,40 3,60 the first three cells are a book of their own: 2, 5 and 3."""
    write(tmp_path, "E2.csv", BARE + ",B365H,B365D,B365A", f"E2,22/08/2026,Barnsley,Bolton,1,0,H,{prices}")
    matches, report = only(tmp_path)
    assert (matches, dict(report.skipped)) == ([], {"row_does_not_fit": 1})


def test_byte_order_mark_in_mid_file_hides_no_header(tmp_path: Path) -> None:
    other = "\ufeffDiv,Date,Time,AwayTeam,HomeTeam,FTAG,FTHG,FTR"
    write(tmp_path, "E2.csv", BARE, "E2,22/08/2026,A,B,1,0,H", other, "E2,23/08/2026,20:00,D,C,0,1,H")
    matches, report = only(tmp_path)
    assert [(row["home_team"], row["away_team"], row["home_score"]) for row in matches] == [
        ("A", "B", 1),
        ("C", "D", 1),
    ]
    assert report.skipped == {"repeated_header": 1}


def test_lines_that_stand_in_quotes_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "E2.csv", f'"{BARE}"', '"E2,22/08/2026,""A, Town"",B,1,0,H"')
    (match,), report = only(tmp_path)
    assert (match["home_team"], match["outcome"], report.lines["line_in_quotes"]) == ("A, Town", 0, [1, 2])


def test_repeated_columns_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "E2.csv", BARE + ",FTHG", "E2,22/08/2026,Barnsley,Bolton,1,0,H,3")
    (match,), report = only(tmp_path)
    assert (match["home_score"], dict(report.repaired)) == (1, {"repeated_column": 1})


LEAGUES = {
    ("Spain", "Primera División"): ("SP1", "Spain", 1),
    ("ESPAÑA", "Primera"): ("ESPAÑA-primera", "ESPAÑA", 1),
    ("Turkey", "Süper Lig"): ("T1", "Turkey", 1),
    ("Türkiye", "SÜPER LİG"): ("T1", "Turkey", 1),
    ("brazil", "Série A"): ("BRA", "Brazil", 1),
    ("England", "Women's Super League"): ("E0-women-s-super-league", "England, women", 1),
    ("Germany", "Frauen-Bundesliga"): ("D1-frauen-bundesliga", "Germany, women", 1),
    ("England", "Premier League 2"): ("E0-premier-league-2", "England, youth and reserves", 1),
    ("Portugal", "Liga Revelação U23"): ("P1-liga-revelacao-u23", "Portugal, youth and reserves", 1),
}


@pytest.mark.parametrize(("country", "league"), LEAGUES)
def test_competitions_in_other_spellings_and_of_other_teams(tmp_path: Path, country: str, league: str) -> None:
    """Women and juniors bear the names of the men's clubs: in a region of their own they share no rating."""
    write(tmp_path, "new.csv", NEW_HEAD, f"{country},{league},2025,23/08/2025,20:00,Arsenal,Chelsea,0,1,A,,,")
    (match,), _ = only(tmp_path)
    assert (match["division"], match["region"], match["tier"]) == LEAGUES[country, league]


@pytest.mark.parametrize(("code", "division"), [("e0", "E0"), ("\u00a0E0", "E0"), ("sc1", "SC1"), ("E-0", "E-0")])
def test_codes_of_divisions_in_any_case(tmp_path: Path, code: str, division: str) -> None:
    write(tmp_path, "E0.csv", BARE, f"{code},22/08/2026,Barnsley,Bolton,1,0,H")
    (match,), report = only(tmp_path)
    assert match["division"] == division
    assert dict(report.repaired) == ({"league_of_its_own": 1} if division == "E-0" else {})


SEASONS = {
    "2425": "2024/25",
    "2024_25": "2024/25",
    "2024/5": "2024/25",
    "24-25": "2024/25",
    "2024": "2024",
    "2526": None,
}


@pytest.mark.parametrize("text", SEASONS)
def test_seasons_as_folders_and_people_write_them(tmp_path: Path, text: str) -> None:
    write(tmp_path, "MEX.csv", NEW_HEAD, f"Mexico,Liga MX,{text},23/08/2024,20:00,Toluca,Pumas,0,1,A,,,")
    matches, report = only(tmp_path)
    assert [row["season"] for row in matches] == ([SEASONS[text]] if SEASONS[text] else [])
    assert dict(report.skipped) == ({} if SEASONS[text] else {"date_outside_season": 1})


def test_lines_of_several_encodings_name_one_club(tmp_path: Path) -> None:
    """Joined files: UTF-8, cp1252, and UTF-8 that somebody read as cp1252 and wrote again."""
    rows = [f"D1,{day}/08/2025,München,Köln,1,0,H" for day in ("02", "09", "16")]
    twice = rows[2].encode().decode("cp1252").encode()
    (tmp_path / "D1.csv").write_bytes(b"\n".join([BARE.encode(), rows[0].encode(), rows[1].encode("cp1252"), twice]))
    (tmp_path / "D2.csv").write_bytes(b"\n".join([BARE.encode(), rows[0].replace("D1,02", "D2,03").encode(), twice]))
    ingest = read_folder(tmp_path, now=NOW)
    names = {(row["source_file"], row["home_team"], row["away_team"]) for row in rows_of(ingest)}
    assert names == {("D1.csv", "München", "Köln"), ("D2.csv", "München", "Köln")}
    assert ingest.report.repaired == {"repaired_encoding": 2}


def test_line_separators_of_unicode_end_lines(tmp_path: Path) -> None:
    write(tmp_path, "E2.csv", "\u2028".join((BARE, "E2,22/08/2026,Barnsley,Bolton,1,0,H")))
    (match,), _ = only(tmp_path)
    assert match["outcome"] == 0


def test_postponed_match_that_was_played_months_later_is_one_match(tmp_path: Path) -> None:
    """The price of the first date is none of the second's."""
    head = BARE + ",B365H,B365D,B365A"
    rows = ("E2,22/11/2025,Wigan,Bolton,,,P,2.1,3.4,3.5", "E2,22/02/2026,Wigan,Bolton,1,0,H,,,")
    write(tmp_path, "E2.csv", head, *rows)
    (match,), report = only(tmp_path)
    assert (match["status"], f"{match['kickoff_utc']:%d/%m}", match["b365_home"]) == ("finished", "22/02", None)
    assert report.skipped == {"played_later": 1}


def test_list_named_after_a_day_to_come_proves_no_time(tmp_path: Path) -> None:
    write(tmp_path, "fixtures_2027-01-28.csv", LIST_HEAD, "E2,05/12/2026,15:00,Wigan,Bolton,2.3,3.3,3.1")
    (match,), _ = only(tmp_path)
    assert (match["status"], match["odds_captured_at"]) == ("upcoming", NOW)


def test_folder_of_old_files_is_older_than_any_other(tmp_path: Path) -> None:
    write(tmp_path, "E2.csv", BARE, "E2,22/08/2025,Wigan,Bolton,0,2,A")
    write(tmp_path, "old/E2.csv", BARE, "E2,22/08/2025,Wigan,Bolton,0,5,A", "E2,29/08/2025,Bolton,Wigan,0,4,A")
    write(tmp_path, "__MACOSX/E2.csv", BARE, "E2,22/08/2025,Wigan,Bolton,0,4,A")
    ingest = read_folder(tmp_path, now=NOW)
    assert rows_of(ingest)[0]["away_score"] == 2
    assert ingest.report.left_alone == {"__MACOSX/": "hidden"}


DOUBLES = [
    "E2,Man Utd,Bolton,1,0,H",
    "E2,Bolton,Man United,0,1,A",
    "E1,Man United,Bolton,1,0,H",
    "E2,Man United,Leeds,2,2,D",
]


@pytest.mark.parametrize("row", DOUBLES, ids=["spelling", "sides", "division", "opponent"])
def test_club_that_plays_twice_a_day_is_named(tmp_path: Path, row: str) -> None:
    division, rest = row.split(",", 1)
    write(tmp_path, "a.csv", BARE, "E2,22/08/2025,Man United,Bolton,1,0,H", "E2,29/08/2025,Man United,Bolton,1,0,H")
    write(tmp_path, "b.csv", BARE, f"{division},22/08/2025,{rest}")
    ingest = read_folder(tmp_path, now=NOW)
    assert ingest.matches.num_rows == 3
    assert [each.lines["club_plays_twice_a_day"] for each in ingest.report.files] == [[], [2]]
