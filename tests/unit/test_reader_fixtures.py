"""Lists of coming matches: what is still to come, and what was played since."""

from datetime import UTC, datetime
from pathlib import Path

from tests.support.build_results import GOOD, HEAD, LIST_HEAD, NEW_HEAD, rows_of, write
from worker.pipeline.ingest.reader import Ingest
from worker.pipeline.ingest.reader import read_folder as read_at

PLAYED = "E0,16/08/2024,20:00,Man United,Fulham,1,0,H"


NOW = datetime(2024, 8, 22, 12, tzinfo=UTC)


def read_folder(folder: Path) -> Ingest:
    """Return the folder as known on 22 August 2024."""
    return read_at(folder, now=NOW)


def listed(day: str, home: str = "Man United", away: str = "Fulham", prices: str = "1.7,4,5") -> str:
    return f"E0,{day},20:00,{home},{away},{prices}"


def test_listed_match_without_a_result_is_upcoming(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, GOOD)
    write(tmp_path, "fixtures/fixtures_2024-08-22.csv", LIST_HEAD, listed("24/08/2024", "Fulham", "Man United"))
    ingest = read_folder(tmp_path)
    upcoming = rows_of(ingest)[-1]
    assert (upcoming["status"], upcoming["outcome"], upcoming["season"]) == ("upcoming", None, "2024/25")
    assert upcoming["b365_home"] == 1.7
    assert upcoming["odds_captured_at"] == datetime(2024, 8, 21, 23, tzinfo=UTC)  # the list's day begins in London
    assert ingest.report.n_upcoming == 1


def test_listed_match_that_was_played_is_the_same_match_and_lends_its_prices(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, PLAYED)
    write(tmp_path, "fixtures/fixtures_2024-08-14.csv", LIST_HEAD, listed("15/08/2024"))  # moved by a day
    ingest = read_folder(tmp_path)
    (match,) = rows_of(ingest)
    assert (match["status"], match["b365_home"], match["source_file"]) == ("finished", 1.7, "main/2425/E0.csv")
    assert match["odds_captured_at"] < match["kickoff_utc"]
    assert ingest.report.skipped == {"fixture_in_season_file": 1}
    assert ingest.report.repaired["prices_lent_to_result"] == 1


def test_prices_of_the_season_file_stand(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, GOOD)
    write(tmp_path, "fixtures.csv", LIST_HEAD, listed("16/08/2024"))
    (match,) = rows_of(read_folder(tmp_path))
    assert match["b365_home"] == 1.6


def test_pairing_of_another_week_is_another_match(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, PLAYED)
    write(tmp_path, "fixtures/fixtures_2024-08-20.csv", LIST_HEAD, listed("24/08/2024"))
    assert [row["status"] for row in rows_of(read_folder(tmp_path))] == ["finished", "upcoming"]


def test_old_listed_match_that_never_got_a_result_is_not_upcoming(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, GOOD)
    write(tmp_path, "fixtures/fixtures_2023-11-13.csv", LIST_HEAD, listed("14/11/2023", "Arsenal", "Wolves"))
    ingest = read_folder(tmp_path)
    assert [row["status"] for row in rows_of(ingest)] == ["finished"]
    assert ingest.report.skipped == {"fixture_without_result": 1}
    assert all(each.is_balanced for each in ingest.report.files)


def test_newest_list_speaks_for_a_match_that_several_name(tmp_path: Path) -> None:
    write(tmp_path, "fixtures/fixtures_2024-08-20.csv", LIST_HEAD, listed("24/08/2024", prices="1.9,3.6,4.1"))
    write(tmp_path, "fixtures/fixtures_2024-08-22.csv", LIST_HEAD, listed("25/08/2024"))
    ingest = read_folder(tmp_path)
    (match,) = rows_of(ingest)
    assert (match["b365_home"], match["source_file"]) == (1.7, "fixtures/fixtures_2024-08-22.csv")
    assert ingest.report.skipped == {"fixture_repeated": 1}


def test_other_spelling_on_the_list_finds_the_club(tmp_path: Path) -> None:
    write(tmp_path, "SP1.csv", HEAD, "SP1,19/08/2024,20:00,Ath Madrid,Girona,3,0,H")
    write(tmp_path, "fixtures_2024-08-18.csv", LIST_HEAD, "SP1,19/08/2024,20:00,Atl. Madrid,Girona,1.5,4,6.5")
    (match,) = rows_of(read_folder(tmp_path))
    assert (match["home_team"], match["b365_home"]) == ("Ath Madrid", 1.5)


def test_name_no_season_file_knows_is_reported_with_the_likest(tmp_path: Path) -> None:
    write(tmp_path, "main/2425/E0.csv", HEAD, GOOD)
    row = listed("24/08/2024", "Manchester United", "Fulham")
    write(tmp_path, "fixtures/fixtures_2024-08-22.csv", LIST_HEAD, row)
    (unknown,) = read_folder(tmp_path).report.unknown_teams
    assert (unknown.division, unknown.name) == ("E0", "Manchester United")
    assert "Man United" in unknown.suggestions


def test_list_of_the_extra_leagues_takes_its_season_from_the_divisions_calendar(tmp_path: Path) -> None:
    write(tmp_path, "new/ROU.csv", NEW_HEAD, "Romania,Superliga,2024/2025,10/08/2024,19:00,FCSB,Otelul,1,0,H,1.5,4,7")
    write(tmp_path, "new/USA.csv", NEW_HEAD, "USA,MLS,2024,10/08/2024,23:30,Austin FC,LA Galaxy,1,0,H,2.2,3.4,3.2")
    head = "Country,League,Date,Time,Home,Away,AvgH,AvgD,AvgA"
    rows = [
        "Romania,Superliga,17/08/2024,19:00,Otelul,FCSB,4,3.4,1.95",
        "USA,MLS,17/08/2024,23:30,X,Austin FC,2,3.5,3.7",
    ]
    write(tmp_path, "fixtures/new_league_fixtures_2024-08-16.csv", head, *rows)
    listed_on = datetime(2024, 8, 16, 12, tzinfo=UTC)
    upcoming = [row for row in rows_of(read_at(tmp_path, now=listed_on)) if row["status"] == "upcoming"]
    assert {row["division"]: row["season"] for row in upcoming} == {"ROU": "2024/25", "USA": "2024"}
    assert {row["avg_home"] for row in upcoming} == {4.0, 2.0}


def test_file_without_any_score_is_a_list_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "coming.csv", HEAD, "E0,24/08/2024,20:00,Fulham,Arsenal,,,")
    assert [row["status"] for row in rows_of(read_folder(tmp_path))] == ["upcoming"]
