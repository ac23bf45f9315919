"""Every bookmaker of a file is read, by the pattern of its columns and not by a list."""

from pathlib import Path
from typing import Any

import pytest

from worker.pipeline.ingest.layouts import book_key, bookmaker_name, identify_layout, is_closing
from worker.pipeline.ingest.reader import read_folder

START = ["Div", "Date", "Time", "HomeTeam", "AwayTeam", "FTHG", "FTAG", "FTR"]
MATCH = ["E0", "16/08/2024", "20:00", "Man United", "Fulham", "1", "0", "H"]


def prices(tmp_path: Path, **triples: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of the prices of one match, by bookmaker and kind, of columns named after the triples."""
    head = [*START, *(code + letter for code in triples for letter in "HDA")]
    cells = [*MATCH, *(cell for triple in triples.values() for cell in triple.split())]
    (tmp_path / "E0.csv").write_text(",".join(head) + "\n" + ",".join(cells) + "\n")
    found = read_folder(tmp_path).prices.to_pylist()
    return {(row["bookmaker"], row["kind"]): row for row in found}


def test_known_and_new_bookmakers_and_their_closing_prices_are_read(tmp_path: Path) -> None:
    found = prices(
        tmp_path, B365="1.6 4.2 5.25", NEW1="1.62 4.1 5.3", NEW1C="1.5 4.5 6", PSC="1.52 4.5 6.1", Max="1.65 4.4 5.5"
    )
    assert set(found) == {
        ("Bet365", "offer"),
        ("NEW1", "offer"),
        ("NEW1", "closing"),
        ("Pinnacle", "closing"),
        ("market best", "offer"),
    }
    new, closing = found["NEW1", "offer"], found["NEW1", "closing"]
    assert (new["odds_home"], new["odds_draw"], new["odds_away"]) == (1.62, 4.1, 5.3)
    assert closing["captured_at"] > new["captured_at"]


def test_the_older_names_of_the_market_are_the_same(tmp_path: Path) -> None:
    found = prices(tmp_path, BbAv="1.6 4.2 5.25", BbMx="1.7 4.5 5.5")
    assert set(found) == {("market average", "offer"), ("market best", "offer")}


def test_a_typing_error_of_one_book_costs_only_that_book(tmp_path: Path) -> None:
    found = prices(tmp_path, B365="1.6 4.2 5.25", BW="1.6 0 5.25", WH="1.6 4.2 -", IW="1.6 1.02 1.1")
    assert set(found) == {("Bet365", "offer")}


@pytest.mark.parametrize(
    ("prefix", "prefixes", "name", "closing"),
    [
        ("b365c", ["b365c"], "Bet365", True),
        ("xyz", ["xyz"], "XYZ", False),
        ("xyzc", ["xyz", "xyzc"], "XYZ", True),
        ("xyzc", ["psc", "xyzc"], "XYZ", True),  # a list of closing prices alone
        ("abc", ["b365", "abc"], "ABC", False),  # a bookmaker whose code ends in c
        ("vc", ["vc"], "VC Bet", False),
        ("vc", ["b365", "vc"], "VC Bet", False),
        ("vcc", ["vc", "vcc"], "VC Bet", True),
    ],
)
def test_closing_prices_never_pass_for_offers(prefix: str, prefixes: list[str], name: str, *, closing: bool) -> None:
    key = book_key(prefix, prefixes)
    assert is_closing(key) == closing
    assert bookmaker_name(key) == name


def test_two_codes_of_one_bookmaker_are_one_book() -> None:
    layout = identify_layout([*START, *(code + letter for code in ("VC", "VJ", "BF", "BFD") for letter in "HDA")])
    assert sorted(map(bookmaker_name, layout.triples)) == ["Betfair", "VC Bet"]
