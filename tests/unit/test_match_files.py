"""Files as people have them, each under tests/data/match_files, and what is right for it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.build_results import rows_of
from worker.pipeline.failures import BuildStopped
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.reader import Ingest, read_folder

DATA = Path(__file__).parents[1] / "data" / "match_files"
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)  # a Monday


def read(name: str, *, now: datetime = NOW, aliases: Path | None = None) -> tuple[list[dict[str, Any]], Ingest]:
    """Return the matches of a folder of the data in the order of kick-off, and everything else about it."""
    ingest = read_folder(DATA / name, now=now, aliases=aliases)
    assert all(each.is_balanced for each in ingest.report.files)
    assert ingest.report.matches == ingest.matches.num_rows
    return rows_of(ingest), ingest


def report_of(ingest: Ingest, path: str) -> FileReport:
    return next(each for each in ingest.report.files if each.path == path)


def b365(row: dict[str, Any]) -> tuple[float, float, float]:
    return row["b365_home"], row["b365_draw"], row["b365_away"]


def times(row: dict[str, Any]) -> str:
    return f"{row['kickoff_utc']:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize("now", [NOW, datetime(2026, 12, 4, 12, tzinfo=UTC)], ids=["Monday", "Friday noon"])
def test_price_in_hand_is_known(now: datetime) -> None:
    """01: an undated list, before the afternoon on which the publisher collects."""
    (match,), _ = read("01_undated_list", now=now)
    assert (match["status"], b365(match)) == ("upcoming", (2.3, 3.3, 3.1))
    assert match["odds_captured_at"] == now


def test_result_in_a_list_is_a_result() -> None:
    """02: what a file is shows in its columns, not in its name."""
    matches, _ = read("02_result_in_a_list")
    assert [(row["home_team"], row["status"]) for row in matches] == [
        ("Leicester", "finished"),
        ("Barnsley", "finished"),
        ("Plymouth", "upcoming"),
    ]


def test_dates_are_checked_against_now_and_the_season() -> None:
    """03: 2062 in a current season, 2020 in the folder 0203."""
    matches, ingest = read("03_wrong_years")
    assert {row["season"] for row in matches} == {"2002/03", "2026/27"}
    assert report_of(ingest, "main/2627/E2.csv").lines["date_too_far_ahead"] == [4]
    assert report_of(ingest, "main/0203/E0.csv").lines["date_outside_season"] == [26]


def test_row_is_realigned_only_when_that_is_certain() -> None:
    """04: a comma in a name, a lost cell before the prices, a lost price, trailing empty cells."""
    matches, ingest = read("04_ragged")
    assert {row["home_team"]: b365(row) for row in matches} == dict.fromkeys(
        ("Man United", "Arsenal", "Stoke"), (1.6, 4.2, 5.25)
    )
    (report,) = ingest.report.files
    assert (dict(report.repaired), report.lines["row_realigned"]) == ({"row_realigned": 2}, [2, 3])
    assert report.lines["row_does_not_fit"] == [4]


def test_unclosed_quote_costs_no_row() -> None:
    """05: 20 matches on 21 lines, one name over two lines."""
    matches, ingest = read("05_unclosed_quote")
    (report,) = ingest.report.files
    assert [row["home_team"] for row in matches] == [f"Club {number}" for number in range(1, 21)]
    assert (report.rows_in, dict(report.skipped)) == (21, {"continued_line": 1})
    assert report.lines["unclosed_quote"] == [5]


def test_header_in_mid_file_starts_a_new_layout() -> None:
    """06: another order of columns in the second season."""
    matches, ingest = read("06_two_headers")
    assert [(row["home_team"], row["season"], b365(row)) for row in matches] == [
        ("Celtic", "2024/25", (1.2, 6, 12)),
        ("Rangers", "2025/26", (1.3, 5, 9)),
    ]
    assert ingest.report.skipped == {"repeated_header": 1}


def test_order_of_dates_is_decided_once() -> None:
    """07: month first in all of a file."""
    matches, ingest = read("07_month_first")
    assert [f"{row['kickoff_utc']:%d/%m}" for row in matches] == [
        *("16/08", "24/08", "01/09", "14/09", "05/10", "19/10", "02/11", "09/11", "21/12")
    ]
    assert {row["season"] for row in matches} == {"2024/25"}
    assert ingest.report.repaired == {"dates_month_first": 1}


def test_dates_of_two_orders_are_refused_where_they_are_ambiguous() -> None:
    """07: both orders are proved by rows of one file."""
    matches, ingest = read("07_mixed_orders")
    assert {f"{row['kickoff_utc']:%d/%m}" for row in matches} == {"16/08", "24/08"}
    assert ingest.report.skipped == {"bad_date": 2, "ambiguous_date": 1}


def test_awarded_and_abandoned_matches_have_no_outcome() -> None:
    """08: no half-time score beside 3-0, and a note behind the last column."""
    matches, ingest = read("08_awarded")
    last = [(row["status"], row["home_score"], row["away_score"], row["outcome"]) for row in matches[-3:]]
    assert last == [("awarded", 3, 0, None), ("abandoned", 1, 1, None), ("finished", 2, 0, 0)]
    assert ingest.report.repaired["marked_awarded"] == ingest.report.repaired["marked_abandoned"] == 1


def test_newest_copy_stands_and_disagreements_are_listed() -> None:
    """12: two scores in one file, an old copy with more columns, a hidden folder."""
    matches, ingest = read("12_copies")
    assert [row["home_team"] for row in matches] == ["Barnsley", "Bolton"]
    assert (matches[1]["home_score"], matches[1]["source_file"]) == (1, "E2.csv")
    assert ingest.report.repaired["copies_disagree"] == 2
    said = {each.match: (each.kept, each.dropped) for each in ingest.report.disagreements}
    assert said["E2 2026-08-29 Bolton - Leicester"] == (
        "1-1 on 2026-08-29: E2.csv, line 4",
        "0-1 on 2026-08-29: E2_old.csv, line 2",
    )
    assert ingest.report.left_alone == {".ipynb_checkpoints/": "hidden"}


def test_copies_a_day_apart_are_one_match() -> None:
    """12: the copy says the day after."""
    (match,), ingest = read("12_copies_a_day_apart")
    assert times(match) == "2026-08-22 14:00"
    assert len(ingest.report.disagreements) == 1


def test_coming_rows_of_a_season_file_are_upcoming() -> None:
    """13: a row dated ahead, P for postponed, a letter that nobody knows."""
    matches, ingest = read("13_coming_rows")
    assert {row["home_team"]: (row["status"], row["home_score"]) for row in matches} == {
        "Barnsley": ("finished", 2),
        "Plymouth": ("upcoming", None),
        "Wigan": ("postponed", None),
        "Exeter": ("awaiting_result", None),
    }
    assert ingest.report.repaired == {"marked_postponed": 1, "unknown_result_letter": 1}


def test_postponed_match_is_one_match() -> None:
    """14: played five days after the list said; another fixture still waits for its result."""
    matches, ingest = read("14_postponed")
    assert [(row["home_team"], row["status"], times(row)) for row in matches] == [
        ("Barnsley", "finished", "2026-08-22 14:00"),
        ("Plymouth", "finished", "2026-11-26 19:45"),
        ("Wigan", "awaiting_result", "2026-11-28 15:00"),
    ]
    assert ingest.report.skipped == {"fixture_in_season_file": 1}
    assert matches[1]["odds_captured_at"] < datetime(2026, 11, 21, tzinfo=UTC)


def test_competitions_are_those_of_the_league_column() -> None:
    """15: known names go to their divisions, others are tournaments of their own."""
    matches, ingest = read("15_leagues")
    assert [(row["division"], row["region"], row["tournament"]) for row in matches] == [
        ("E1", "England", "Championship"),
        ("E3", "England", "League Two"),
        ("SP2", "Spain", "La Liga 2"),
        ("BRA-serie-b", "Brazil", "Serie B"),
        ("JPN-j2-league", "Japan", "J2 League"),
        ("ARG-copa-liga-profesional", "Argentina", "Copa De La Liga Profesional"),
        ("ARG", "Argentina", "Liga Profesional"),
        ("ARG-copa-liga-profesional", "Argentina", "Copa Liga Profesional"),
    ]
    assert [row["tier"] for row in matches] == [2, 4, 2, 2, 2, 1, 1, 1]
    assert ingest.report.repaired == {"league_of_its_own": 4}


def test_times_of_day_in_every_spelling() -> None:
    """16: five spellings of 20:00, one offset, one unknown, one word."""
    matches, ingest = read("16_times")
    assert [f"{row['kickoff_utc']:%H:%M}" for row in matches] == ["19:00"] * 5 + ["18:00", "14:00", "14:00"]
    assert [row["has_time"] for row in matches] == [True] * 6 + [False] * 2
    assert ingest.report.repaired == {"time_unknown": 1, "bad_time": 1}


def test_seasons_in_every_spelling() -> None:
    """17: understood, or named."""
    matches, ingest = read("17_seasons")
    assert {row["home_team"]: row["season"] for row in matches} == {
        **dict.fromkeys(("Home 0", "Home 1", "Home 2", "Home 4", "Home 5"), "2024/25"),
        **dict.fromkeys(("Home 3", "Home 6"), "2024"),
    }
    (report,) = ingest.report.files
    assert (dict(report.repaired), report.lines["unknown_season"]) == ({"unknown_season": 1}, [8])


def test_book_that_contradicts_the_others_is_unsound() -> None:
    """18: against the average, against the median of the books, and not at all."""
    matches, ingest = read("18_contradiction")
    assert [row["odds_unsound"] for row in matches] == [True, True, False]
    (report,) = ingest.report.files
    assert report.lines["odds_contradict_others"] == [2, 3]


def test_renamed_clubs_are_one_club() -> None:
    """19: by the built-in list, and by a file of aliases on top of it."""
    aliases = DATA / "19_renamed" / "aliases.json"
    matches, _ = read("19_renamed", aliases=aliases)
    names = [(row["home_team"], row["away_team"]) for row in matches]
    assert names == [
        ("Torpedo Moscow", "Zenit"),
        ("Tianjin Tianhai", "Cangzhou"),
        ("Farul Constanta", "FCSB"),
        ("Farul Constanta", "FCSB"),
    ]
    assert {row["home_team"] for row in read("19_renamed")[0]} >= {"FC Farul"}


@pytest.mark.parametrize("content", ["[]", "{", '{"Romania": ["a"]}', '{"Romania": {"a": 1}}'])
def test_file_of_aliases_that_is_none_stops_the_build(tmp_path: Path, content: str) -> None:
    (tmp_path / "aliases.json").write_text(content)
    with pytest.raises(BuildStopped, match=r"aliases\.json"):
        read("19_renamed", aliases=tmp_path / "aliases.json")


def test_containers_separators_and_encodings() -> None:
    """20: what can be read is read, the rest is named."""
    matches, ingest = read("20_containers")
    divisions = {row["division"]: row["source_file"] for row in matches}
    assert divisions == {
        "E0": "data.zip/E0.csv",
        "E1": "data.zip/E1.csv",
        "E2": "zip_named.csv/E2.csv",
        "E3": "semicolons.csv",
        "EC": "tabs.csv",
        "SC0": "sep_line.csv",
        "SC1": "utf16.csv",
        "SC2": "leading_blank.csv",
        "D1": "all-euro-data.xlsx/D1",
        "D2": "all-euro-data.xlsx/D2",
    }
    assert {(times(row), row["home_score"], row["outcome"], b365(row)) for row in matches} == {
        ("2026-08-22 14:00", 2, 0, (2.1, 3.4, 3.5))
    }
    assert ingest.report.faults == {"not_text": 1}
    assert ingest.report.skipped == {"before_header": 2}


def test_nonsense_is_refused_and_missing_is_missing() -> None:
    """21: half a goal, NA and zeros as prices, a price of 1e17."""
    matches, ingest = read("21_nonsense")
    assert [b365(row)[0] for row in matches] == [None, None, None, 2.1]
    (report,) = ingest.report.files
    assert (dict(report.skipped), dict(report.repaired)) == ({"bad_score": 1}, {"bad_odds_triple": 1})
    assert (report.lines["bad_score"], report.lines["bad_odds_triple"]) == ([2], [5])


def test_bad_list_of_leagues_stops_with_a_sentence() -> None:
    """21: leagues.json lacks what a league needs."""
    with pytest.raises(BuildStopped, match=r"leagues\.json"):
        read("21_bad_leagues")


def test_neutral_venues_and_scores_beyond_the_time_are_read_where_a_file_says_so() -> None:
    """Also: N beside Y is a no, N alone a neutral venue; a score after extra time is no result of 90 minutes."""
    matches, ingest = read("22_venues_and_extra_time")
    assert {(row["home_team"], row["away_team"]) for row in matches if row["is_neutral"]} == {
        ("Chelsea", "Arsenal"),
        ("Leeds", "Derby"),
        ("Walsall", "Barrow"),  # 1.0, as pandas writes a flag beside an empty cell
    }
    assert [row["home_team"] for row in matches if row["division"] == "E2"] == ["Bolton"]
    assert [row["home_team"] for row in matches if row["division"] == "E3"] == ["Barrow", "Walsall"]
    assert report_of(ingest, "2425/E2.csv").lines["score_after_extra_time"] == [3, 4, 5]
