"""Properties of reading whole files: any legal layout gives the matches back; one broken thing is named."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.build_results import rows_of
from worker.pipeline.ingest.ingest_report import FileReport
from worker.pipeline.ingest.reader import read_folder

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
pytestmark = pytest.mark.timeout(120)  # dozens of whole folders are read
COLUMNS = ("Div", "Date", "Time", "HomeTeam", "AwayTeam", "FTHG", "FTAG", "FTR", "HTHG", "HTAG", "Referee", "HS", "AS")
BOOKS = ("B365", "BW", "IW", "Avg", "AvgC", "PSC")
NEEDED = ("Div", "Date", "HomeTeam", "AwayTeam", "FTHG", "FTAG", "FTR")
FIRST = date(2024, 8, 10)
PRICES = [(1.6, 4.2, 5.25), (2.1, 3.4, 3.6), (2.9, 3.25, 2.5), (7.0, 4.75, 1.44)]
PREFIXES = {"b365": "B365", "avg": "Avg", "avgc": "AvgC", "psc": "PSC"}
Match = dict[str, Any]


@st.composite
def seasons(draw: st.DrawFn) -> list[Match]:
    """A season of a dozen clubs or fewer: two matches a week, every pairing once."""
    clubs = draw(st.lists(st.sampled_from(CLUBS), min_size=4, max_size=8, unique=True))
    pairs = draw(st.permutations([(home, away) for home in clubs for away in clubs if home != away]))
    goals = st.integers(0, 9)
    return [
        {
            "day": FIRST + timedelta(days=3 * number),
            "home": home,
            "away": away,
            "score": (draw(goals), draw(goals)),
            "prices": draw(st.sampled_from(PRICES)),
        }
        for number, (home, away) in enumerate(pairs[: draw(st.integers(4, 24))])
    ]


CLUBS = (
    "Man United",
    "Nott'm Forest",
    "Café Sport",
    'The "Blues"',
    "Ath, Madrid",
    "1860 München",
    "FC 08",
    "Łódź",
    "A-B",
    "O.F.I.",
)


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    """A legal way of writing a file."""
    optional = draw(st.lists(st.sampled_from([name for name in COLUMNS if name not in NEEDED]), unique=True))
    books = draw(st.lists(st.sampled_from(BOOKS), unique=True))
    names = [*NEEDED, *optional, *(book + letter for book in books for letter in "HDA")]
    return {
        "columns": draw(st.permutations(names)),
        "separator": draw(st.sampled_from([",", ";", "\t", "|"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])),
        "date": draw(st.sampled_from(["%d/%m/%Y", "%d/%m/%y", "%m/%d/%Y", "%Y-%m-%d", "%d.%m.%Y", "%d %b %Y"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
        "end": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "blank": draw(st.integers(0, 3)),
        "trailing": draw(st.integers(0, 3)),
    }


def cells_of(match: Match, layout: dict[str, Any]) -> dict[str, Any]:
    home, away = match["score"]
    prices = dict(zip("HDA", match["prices"], strict=True))
    return {
        "Div": "E0",
        "Date": match["day"].strftime(layout["date"]),
        "Time": "20:00",
        "HomeTeam": match["home"],
        "AwayTeam": match["away"],
        "FTHG": home,
        "FTAG": away,
        "FTR": "H" if home > away else "D" if home == away else "A",
        "HTHG": 0,
        "HTAG": 0,
        "Referee": "A Taylor",
        "HS": 12,
        "AS": 9,
    } | {book + letter: price for book in BOOKS for letter, price in prices.items()}


def write_season(season: list[Match], layout: dict[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=layout["separator"], quoting=layout["quoting"], lineterminator=layout["end"])
    padding = [""] * layout["trailing"]
    writer.writerow([*layout["columns"], *padding])
    for match in season:
        cells = cells_of(match, layout)
        writer.writerow([*(cells[name] for name in layout["columns"]), *padding])
    for _ in range(layout["blank"]):
        out.write(layout["separator"] * 5 + layout["end"])
    return out.getvalue()


def read(folder: Path, raw: bytes) -> tuple[list[Match], FileReport]:
    (folder / "2425").mkdir()
    (folder / "2425" / "E0.csv").write_bytes(raw)
    ingest = read_folder(folder, now=NOW)
    (report,) = ingest.report.files
    assert report.is_balanced
    assert report.matches == ingest.matches.num_rows
    return rows_of(ingest), report


def is_month_first(season: list[Match], layout: dict[str, Any]) -> bool:
    return layout["date"] == "%m/%d/%Y" and any(match["day"].day > 12 for match in season)


@given(season=seasons(), layout=layouts())
@settings(max_examples=25, deadline=None, phases=[Phase.reuse, Phase.generate])
def test_any_legal_layout_gives_the_matches_back(
    season: list[Match], layout: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = write_season(season, layout).encode(layout["encoding"])
    matches, report = read(tmp_path_factory.mktemp("season"), raw)
    assert [
        (row["home_team"], row["away_team"], row["kickoff_utc"].date(), (row["home_score"], row["away_score"]))
        for row in matches
    ] == [(match["home"], match["away"], match["day"], match["score"]) for match in season]
    for book, prefix in PREFIXES.items():
        prices = [(row[f"{book}_home"], row[f"{book}_draw"], row[f"{book}_away"]) for row in matches]
        is_there = prefix + "H" in layout["columns"]
        assert prices == [match["prices"] if is_there else (None, None, None) for match in season]
    assert report.rows_in == len(season) + layout["blank"]
    assert report.skipped.total() == report.skipped["blank_row"] == layout["blank"]
    assert dict(report.repaired) == ({"dates_month_first": 1} if is_month_first(season, layout) else {})


PLAIN: dict[str, Any] = {
    "columns": (*COLUMNS, *(book + letter for book in BOOKS for letter in "HDA")),
    "separator": ",",
    "date": "%d/%m/%Y",
    "quoting": csv.QUOTE_MINIMAL,
    "end": "\n",
    "blank": 0,
    "trailing": 0,
}
# what is broken -> the causes that may name it, and whether the match survives
BREAKS: dict[str, tuple[set[str], bool]] = {
    "year": ({"date_too_far_ahead"}, False),
    "season": ({"date_outside_season"}, False),
    "date": ({"bad_date"}, False),
    "goals": ({"bad_score"}, False),
    "team": ({"missing_team"}, False),
    "price": ({"bad_odds_triple"}, True),
    "letter": ({"result_against_score", "unknown_result_letter"}, True),
    "time": ({"bad_time"}, True),
    "quote": ({"unclosed_quote"}, True),
    "lost cell": ({"row_realigned", "row_does_not_fit"}, False),
    "extra comma": ({"row_realigned", "row_does_not_fit"}, False),
    "book": ({"odds_contradict_others"}, True),
}


def break_cells(cells: dict[str, Any], what: str) -> str:
    """Return the line of a match in which one thing is broken."""
    day = datetime.strptime(cells["Date"], "%d/%m/%Y").replace(tzinfo=UTC)
    every: dict[str, dict[str, Any]] = {
        "year": {"Date": f"{day:%d/%m}/2062"},
        "season": {"Date": f"{day:%d/%m}/2019"},
        "date": {"Date": "32/13/2024"},
        "goals": {"FTHG": "1.5"},
        "team": {"HomeTeam": ""},
        "price": {"B365D": "x"},
        "letter": {"FTR": {"H": "A", "D": "H", "A": "D"}[cells["FTR"]]},
        "time": {"Time": "soon"},
        "quote": {"HomeTeam": '"Stray'},
        "extra comma": {"Referee": "Taylor, A"},
        "book": {"B365H": 3.3, "B365D": 3.1, "B365A": 2.25, "AvgH": 1.49, "AvgD": 3.77, "AvgA": 6.53},
    }
    changes = every.get(what, {})
    values = [str((cells | changes)[name]) for name in PLAIN["columns"] if not (what == "lost cell" and name == "HS")]
    return ",".join(values)


@given(season=seasons(), what=st.sampled_from(sorted(BREAKS)), place=st.integers(0, 3))
@settings(max_examples=40, deadline=None, phases=[Phase.reuse, Phase.generate])
def test_one_broken_thing_is_named_and_costs_no_other_row(
    season: list[Match], what: str, place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    clubs = {'The "Blues"': "Blues", "Ath, Madrid": "Madrid"}
    season = [
        match | {"home": clubs.get(match["home"], match["home"]), "away": clubs.get(match["away"], match["away"])}
        for match in season
    ]
    lines = write_season([*season, *SEASON_OF_OTHERS], PLAIN).split("\n")
    lines[place + 1] = break_cells(cells_of(season[place], PLAIN), what)
    matches, report = read(tmp_path_factory.mktemp("broken"), "\n".join(lines).encode())
    causes, survives = BREAKS[what]
    named = {cause for cause in causes if place + 2 in report.lines[cause]}
    assert named
    n_lost = 0 if survives or "row_realigned" in named else 1
    assert len(matches) == len(season) + len(SEASON_OF_OTHERS) - n_lost
    others = {(row["home_team"], row["away_team"], row["home_score"]) for row in matches}
    assert {
        (match["home"], match["away"], match["score"][0]) for match in season if match is not season[place]
    } <= others


# enough rows that one of them is no tenth of its file
SEASON_OF_OTHERS: list[Match] = [
    {
        "day": FIRST + timedelta(days=number),
        "home": f"Club {number}",
        "away": "Visitor",
        "score": (1, 0),
        "prices": PRICES[1],
    }
    for number in range(20)
]
