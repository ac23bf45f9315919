"""The reader of published results: every defect it must survive, count and name."""

import gzip
import json
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.support.build_results import GOOD, HEAD, NEW_HEAD, OTHER, rows_of, write
from worker.pipeline.ingest import dates
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.matches import match_id
from worker.pipeline.ingest.reader import read_folder
from worker.pipeline.summary import closing_table


def only(folder: Path) -> tuple[list[dict[str, Any]], FileReport]:
    """The matches and the report of a folder that holds one file."""
    ingest = read_folder(folder)
    (report,) = ingest.report.files
    assert report.is_balanced
    return rows_of(ingest), report


def test_main_layout_gives_every_column(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv.gz", HEAD, GOOD)
    (row,), report = only(tmp_path)
    assert row["match_id"] == match_id("E0", date(2024, 8, 16), "Man United", "Fulham")
    assert row["kickoff_utc"] == datetime(2024, 8, 16, 19, tzinfo=UTC)  # British summer time
    assert row["has_time"] is True
    assert (row["region"], row["tournament"], row["tier"]) == ("England", "Premier League", 1)
    assert (row["season"], row["status"], row["outcome"]) == ("2024/25", "finished", 0)
    assert (row["home_score"], row["away_score"]) == (1, 0)
    assert (row["b365_home"], row["b365_draw"], row["b365_away"]) == (1.6, 4.2, 5.25)
    assert (row["avgc_home"], row["psc_home"], row["avg_home"]) == (1.66, None, None)
    assert row["odds_captured_at"] == datetime(2024, 8, 16, 14, tzinfo=UTC)  # Friday afternoon
    assert row["source_file"] == "main/2425/E0.csv.gz"
    assert (report.rows_in, report.matches) == (1, 1)


def test_new_layout_has_its_own_seasons_and_only_closing_prices(tmp_path: Path) -> None:
    row = "Argentina,Liga Profesional ,2012/2013,03/08/2012,23:00,Arsenal Sarandi,Union,1,1,D,1.9,3.39,5.03"
    write(tmp_path, "new/ARG.csv", NEW_HEAD, row)
    (match,), _ = only(tmp_path)
    assert (match["division"], match["region"], match["tournament"]) == ("ARG", "Argentina", "Liga Profesional")
    assert (match["season"], match["outcome"], match["psc_home"]) == ("2012/13", 1, 1.9)
    assert match["odds_captured_at"] is None


def test_country_with_a_trailing_space_is_the_same_country(tmp_path: Path) -> None:
    write(tmp_path, "new/SWE.csv", NEW_HEAD, "Sweden ,Allsvenskan ,2024,31/03/2024,14:00,AIK,Oster ,1,0,H,2,3.4,4")
    (match,), _ = only(tmp_path)
    assert (match["division"], match["away_team"], match["season"]) == ("SWE", "Oster", "2024")


@pytest.mark.parametrize("text", ["14/08/93", "14/08/1993", "1993-08-14"])
def test_date_forms_mean_the_same_day(text: str) -> None:
    assert dates.parse_date(text) == date(1993, 8, 14)


@pytest.mark.parametrize("text", ["", "31/02/2024", "yesterday", "14/13/2020", "1/1/1"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert dates.parse_date(text) is None


def test_match_without_a_time_is_placed_at_three_in_the_afternoon(tmp_path: Path) -> None:
    write(tmp_path, "9394/E0.csv", "Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR", "E0,14/12/93,Arsenal,Coventry,0,3,A")
    (match,), _ = only(tmp_path)
    assert match["kickoff_utc"] == datetime(1993, 12, 14, 15, tzinfo=UTC)
    assert (match["has_time"], match["season"], match["outcome"]) == (False, "1993/94", 2)


BAD_GOALS = ["x,1", "-1,0", "1,", "1e999,0", "1.5,1", "100,0"]
SKIPPED = [
    (",,,,,,,,,,,,,", "blank_row"),
    ("E0,16/08/2024,20:00,,Fulham,1,0,H", "missing_team"),
    ("E0,99/99/2024,20:00,Man United,Fulham,1,0,H", "bad_date"),
    ("E0,16/08/2024,20:00,Fulham,Fulham,1,0,H", "same_team_twice"),
    *((f"E0,16/08/2024,20:00,Man United,Fulham,{goals},H,,,,,,", "bad_score") for goals in BAD_GOALS),
]


@pytest.mark.parametrize(("row", "cause"), SKIPPED)
def test_row_that_is_no_match_is_counted_by_cause(tmp_path: Path, row: str, cause: str) -> None:
    write(tmp_path, "E0.csv", HEAD, OTHER, row)
    matches, report = only(tmp_path)
    assert len(matches) == 1
    assert report.skipped == {cause: 1}
    assert (report.rows_in, report.matches) == (2, 1)


def test_duplicate_row_is_one_match(tmp_path: Path) -> None:
    write(tmp_path, "E0.csv", HEAD, GOOD, GOOD)
    matches, report = only(tmp_path)
    assert len(matches) == 1
    assert report.skipped == {"duplicate_match": 1}


def test_copy_that_knows_more_wins_whatever_its_name(tmp_path: Path) -> None:
    bare = "E0,16/08/2024,20:00,Man United,Fulham,1,0,H"
    for name, row in (("a.csv", GOOD), ("b.csv", bare)):
        write(tmp_path, name, HEAD, row, OTHER)
    ingest = read_folder(tmp_path)
    match = next(row for row in rows_of(ingest) if row["home_team"] == "Man United")
    assert (match["b365_home"], match["source_file"]) == (1.6, "a.csv")
    assert ingest.report.matches == ingest.matches.num_rows == 2


PRICES = [
    ("0,4.2,5.25", "bad_odds_triple"),
    ("1.6,1.02,5.25", "bad_odds_triple"),
    ("1.6,4.2,52.5", "bad_odds_triple"),
    ("1.6,abc,5.25", "bad_odds_triple"),
    ("1.6,nan,5.25", "partial_odds_triple"),
    ("1e17,1.2,5.25", "bad_odds_triple"),
    ("1.6,4.2,1002", "bad_odds_triple"),
    ("1.6,,5.25", "partial_odds_triple"),
    (",,5.25", "partial_odds_triple"),
]


@pytest.mark.parametrize(("prices", "cause"), PRICES)
def test_prices_that_cannot_be_are_missing_and_counted(tmp_path: Path, prices: str, cause: str) -> None:
    write(tmp_path, "E0.csv", HEAD, f"E0,16/08/2024,20:00,Man United,Fulham,1,0,H,{prices},,,")
    (match,), report = only(tmp_path)
    assert match["b365_home"] is match["b365_draw"] is match["b365_away"] is match["odds_captured_at"] is None
    assert report.repaired == {cause: 1}


def test_no_break_space_in_a_cell_of_odds_does_not_cost_the_price(tmp_path: Path) -> None:
    write(tmp_path, "E0.csv", HEAD, GOOD.replace("1.6,", "1.6\xa0,"), encoding="cp1252")
    (match,), report = only(tmp_path)
    assert match["b365_home"] == 1.6
    assert report.repaired == {"repaired_encoding": 1}


def test_team_with_a_curly_apostrophe_is_one_team_in_both_encodings(tmp_path: Path) -> None:
    row = "EC,{},15:00,King’s Lynn,Yeovil,2,2,D"
    write(tmp_path, "a.csv", HEAD, row.format("03/10/2020"), encoding="cp1252")
    write(tmp_path, "b.csv", HEAD, row.format("03/10/2021"), encoding="utf-8-sig")
    matches = rows_of(read_folder(tmp_path))
    assert [each["home_team"] for each in matches] == ["Kings Lynn", "Kings Lynn"]


def test_aliases_and_spaces_lead_to_one_name(tmp_path: Path) -> None:
    write(tmp_path, "D1.csv", HEAD, "D1,07/08/1993,,M'Gladbach ,Leipzig,1,1,D")
    (match,), report = only(tmp_path)
    assert (match["home_team"], match["away_team"]) == ("M'gladbach", "Leipzig")  # not RB Leipzig: another club
    assert report.repaired["alias_applied"] == 1


def test_ragged_rows_are_kept_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "E0.csv", HEAD, GOOD + ",9,9", "E0,17/08/2024,15:00,Arsenal,Wolves,2,0,H")
    matches, report = only(tmp_path)
    assert [each["b365_home"] for each in matches] == [1.6, None]
    assert report.repaired == {"ragged_row_long": 1, "ragged_row_short": 1}


def test_unnamed_and_repeated_columns_do_no_harm(tmp_path: Path) -> None:
    head = "Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR,,,B365H,B365D,B365A,B365H"
    write(tmp_path, "E0.csv", head, "E0,16/08/2024,Man United,Fulham,1,0,H,x,y,1.6,4.2,5.25,99")
    (match,), report = only(tmp_path)
    assert match["b365_home"] == 1.6
    assert report.repaired == {"repeated_column": 1}


def test_season_row_without_a_score_is_cancelled(tmp_path: Path) -> None:
    write(tmp_path, "G1.csv", HEAD, OTHER, "G1,17/03/2019,17:30,Panathinaikos,Olympiakos,,,")
    matches, report = only(tmp_path)
    cancelled = next(each for each in matches if each["division"] == "G1")
    assert (cancelled["status"], cancelled["outcome"], cancelled["home_score"]) == ("cancelled", None, None)
    assert report.repaired["missing_score"] == 1


@pytest.mark.parametrize("goals", [",", "NA,NA", "-,-", "nan,nan"])
def test_score_that_is_missing_is_no_score(tmp_path: Path, goals: str) -> None:
    write(tmp_path, "E0.csv", HEAD, OTHER, f"E0,10/08/2024,20:00,Man United,Fulham,{goals},,,,,,,")
    matches, report = only(tmp_path)
    assert [each["status"] for each in matches] == ["awaiting_result", "finished"]
    assert not report.repaired


def test_score_of_a_spreadsheet_is_a_whole_number(tmp_path: Path) -> None:
    write(tmp_path, "E0.csv", HEAD, GOOD.replace(",1,0,H", ",1.0,0.0,H"))
    (match,), report = only(tmp_path)
    assert (match["home_score"], match["outcome"], dict(report.repaired)) == (1, 0, {})


def test_goals_stand_against_a_wrong_letter(tmp_path: Path) -> None:
    write(tmp_path, "E0.csv", HEAD, GOOD.replace(",1,0,H", ",1,0,A"))
    (match,), report = only(tmp_path)
    assert match["outcome"] == 0
    assert report.repaired == {"result_against_score": 1}


FAULTS = [
    (b"<!DOCTYPE HTML PUBLIC><html><title>300 Multiple Choices</title></html>", "not_csv_html"),
    (b"", "empty_file"),
    (b"\xef\xbb\xbf \r\n", "empty_file"),
    (b"\x1f\x8b not really gzip", "broken_file"),
    (b"Div,Date,HomeTeam\nE0,16/08/2024,Fulham\n", "missing_columns"),
    (b"a,b\n1,2\n", "missing_columns"),
]


@pytest.mark.parametrize(("raw", "cause"), FAULTS)
def test_file_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path: Path, raw: bytes, cause: str) -> None:
    write(tmp_path, "good.csv", HEAD, GOOD)
    (tmp_path / "bad.csv").write_bytes(raw)
    ingest = read_folder(tmp_path)
    assert ingest.matches.num_rows == 1
    bad = next(each for each in ingest.report.files if each.path == "bad.csv")
    assert (bad.fault, bad.matches, bad.rows_in) == (cause, 0, 0)
    assert ingest.report.faults == {cause: 1}


def test_truncated_gzip_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "E0.csv.gz").write_bytes(gzip.compress("\n".join([HEAD, GOOD]).encode())[:-12])
    ingest = read_folder(tmp_path)
    assert ingest.report.faults == {"broken_file": 1}


def test_two_seasons_joined_in_one_file_are_two_seasons(tmp_path: Path) -> None:
    later = GOOD.replace("16/08/2024", "02/08/2025")
    write(tmp_path, "2425/E0.csv", HEAD, GOOD, later)
    matches, _ = only(tmp_path)
    assert [each["season"] for each in matches] == ["2024/25", "2025/26"]


@pytest.mark.parametrize(
    ("day", "folder", "season"),
    [
        (date(2020, 7, 26), None, "2019/20"),
        (date(2020, 8, 2), 2019, "2019/20"),
        (date(2020, 8, 1), 2020, "2020/21"),
        (date(1993, 7, 23), 1993, "1993/94"),
        (date(2000, 1, 1), None, "1999/00"),
    ],
)
def test_season_of_a_date(day: date, folder: int | None, season: str) -> None:
    assert dates.split_season(day, folder) == season


@pytest.mark.parametrize(("name", "year"), [("main/9900/E0.csv", 1999), ("E0_2425.csv", 2024), ("new/ARG.csv", None)])
def test_first_year_in_a_name(name: str, year: int | None) -> None:
    assert dates.folder_year(name) == year


def test_folder_names_its_own_leagues(tmp_path: Path) -> None:
    league = {"division": "AV1", "region": "Avaland", "tournament": "Crown League", "tier": 1}
    (tmp_path / "leagues.json").write_text(json.dumps([league]))
    write(tmp_path, "AV1.csv", HEAD, GOOD.replace("E0,", "AV1,"))
    ingest = read_folder(tmp_path)
    assert (rows_of(ingest)[0]["region"], rows_of(ingest)[0]["tournament"]) == ("Avaland", "Crown League")


def test_files_beside_the_results_are_left_alone_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, GOOD)
    write(tmp_path, "snapshots/E0.csv", HEAD, GOOD)
    write(tmp_path, "international/results.csv", "date,home_team", "1872-11-30,Scotland")
    write(tmp_path, "MANIFEST.csv", "path,league", "x,y")
    ingest = read_folder(tmp_path)
    assert [each.path for each in ingest.report.files] == ["main/2425/E0.csv"]
    assert set(ingest.report.left_alone) == {"snapshots/", "international/", "MANIFEST.csv"}


def test_closing_table_and_json_say_the_same(tmp_path: Path) -> None:
    write(tmp_path, "E0.csv", HEAD, GOOD, *(row for row, _ in SKIPPED))
    report = read_folder(tmp_path).report
    out = StringIO()
    Console(width=120, file=out).print(closing_table(report))
    shown = out.getvalue()
    totals = report.as_dict()
    assert totals["rows_in"] == totals["matches"] + sum(totals["skipped"].values()) == 11
    assert all(cause in shown for cause in totals["skipped"])


ROWS = [
    GOOD,
    OTHER,
    OTHER,
    "E0,24/08/2024,15:00,Man United,Wolves,,,",
    "E0,24/08/2024,15:00,Fulham,Arsenal,0,0,D,2.5,3.3,2.9,,,",
    "E0,24/08/2024,12:30,Fulham,Arsenal,0,0,D,2.4,3.3,2.9,,,",
    ",,,",
]


@given(order=st.permutations(ROWS))
@settings(max_examples=40, deadline=None)
def test_order_of_rows_changes_nothing(order: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Property: the rows of a file in any order give the same table, copies of one match included."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    write(first, "E0.csv", HEAD, *ROWS)
    write(second, "E0.csv", HEAD, *order)
    assert read_folder(first).matches.equals(read_folder(second).matches)


@given(order=st.permutations(ROWS[:2] + ROWS[3:5]), cut=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_split_over_files_changes_no_match(
    order: list[str], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Property: the same rows in two files in any order have the same keys, results and prices."""
    whole, split = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("split")
    write(whole, "a.csv", HEAD, *(ROWS[:2] + ROWS[3:5]))
    # a file in which nothing was played would be a list of coming matches
    write(split, "z.csv", HEAD, "E1,10/08/2024,15:00,Leeds,Hull,1,1,D", *order[:cut])
    write(split, "b.csv", HEAD, "E1,10/08/2024,15:00,Stoke,Derby,1,1,D", *order[cut:])
    kept = [{k: v for k, v in row.items() if k != "source_file"} for row in rows_of(read_folder(whole))]
    found = [{k: v for k, v in row.items() if k != "source_file"} for row in rows_of(read_folder(split))]
    assert [row for row in found if row["division"] == "E0"] == kept


def test_key_of_a_match_never_changes() -> None:
    """A change would cut every stored prediction and link from its match."""
    assert match_id("E0", date(2024, 8, 16), "Man United", "Fulham") == 1384221225754787


@pytest.mark.parametrize(
    ("kickoff", "collected"),
    [
        (datetime(2024, 8, 18, 15, 30, tzinfo=UTC), datetime(2024, 8, 16, 14, tzinfo=UTC)),  # Sunday: the Friday
        (datetime(2024, 8, 19, 19, tzinfo=UTC), datetime(2024, 8, 16, 14, tzinfo=UTC)),  # Monday: the Friday
        (datetime(2024, 8, 22, 18, tzinfo=UTC), datetime(2024, 8, 20, 14, tzinfo=UTC)),  # Thursday: the Tuesday
        (datetime(2024, 8, 16, 12, tzinfo=UTC), datetime(2024, 8, 16, 11, tzinfo=UTC)),  # Friday noon: an hour before
    ],
)
def test_prices_are_collected_on_friday_or_tuesday_and_before_kickoff(kickoff: datetime, collected: datetime) -> None:
    assert dates.collected_utc(kickoff) == collected
