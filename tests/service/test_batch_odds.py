from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worker.pipeline.output.odds_file import write_odds
from worker.pipeline.output.predictions_file import write_predictions

KICKOFF = datetime(2026, 8, 15, 14, tzinfo=UTC)
BOOKS = ("b365", "b365c", "avgc")
SIDES = ("home", "draw", "away")
UTC_TIME = pa.timestamp("us", "UTC")


def a_match(match_id: int, **changes: Any) -> dict[str, Any]:
    """A match as the reader gives it, priced before and at kick-off."""
    prices = {f"{book}_{side}": 2.0 + i for book in BOOKS for i, side in enumerate(SIDES)}
    return {
        "match_id": match_id,
        "kickoff_utc": KICKOFF + timedelta(hours=match_id),
        "has_time": True,
        "region": "England",
        "tournament": "Premier League",
        "division": "E0",
        "tier": 1,
        "season": "2026/27",
        "home_team": "Arsenal",
        "away_team": "Leeds",
        "status": "finished",
        "home_score": 1,
        "away_score": 0,
        "outcome": 0,
        "odds_captured_at": KICKOFF - timedelta(days=1),
        "odds_unsound": False,
        **prices,
        **changes,
    }


def stored(folder: Path, *matches: dict[str, Any]) -> Path:
    schema = pa.schema(
        [("kickoff_utc", UTC_TIME), ("odds_captured_at", UTC_TIME)]
        + [(f"{book}_{side}", pa.float64()) for book in (*BOOKS, "psc") for side in SIDES]
        + [("match_id", pa.int64()), ("tier", pa.int16()), ("has_time", pa.bool_()), ("odds_unsound", pa.bool_())]
        + [(name, pa.int16()) for name in ("home_score", "away_score", "outcome")]
        + [(n, pa.string()) for n in ("region", "tournament", "division", "season", "home_team", "away_team", "status")]
    )
    pq.write_table(pa.Table.from_pylist(list(matches), schema), folder / "matches.parquet")
    return folder / "matches.parquet"


def odds_of(folder: Path, *matches: dict[str, Any], simulated: bool = False) -> list[dict[str, Any]]:
    out = folder / "odds.parquet"
    written = write_odds(stored(folder, *matches), out, simulated=simulated)
    rows = pq.read_table(out).to_pylist()
    assert written == len(rows)
    return rows


def no(book: str, *sides: str) -> dict[str, None]:
    return {f"{book}_{side}": None for side in sides or SIDES}


def test_the_price_is_the_one_from_before_the_match(tmp_path: Path) -> None:
    (row,) = odds_of(tmp_path, a_match(1, b365_home=1.8))
    assert (row["odds_home"], row["odds_draw"], row["odds_away"]) == (1.8, 3.0, 4.0)
    assert row["bookmaker"] == "Bet365 (pre-match)"
    assert row["captured_at"] == KICKOFF - timedelta(days=1)
    assert row["event_url"] is None


def test_a_closing_price_never_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    rows = odds_of(
        tmp_path,
        a_match(1, **no("b365")),
        a_match(2, **no("b365", "draw")),
        a_match(3, b365_away=1.0),
        a_match(4, odds_captured_at=None),
        a_match(5, b365_away=float("inf")),
        a_match(7, odds_unsound=True),  # the other books of its row say otherwise
        a_match(6),
    )
    assert [row["match_id"] for row in rows] == [6]


def test_the_closing_price_is_the_market_average_else_the_bookmakers(tmp_path: Path) -> None:
    average, own, none = odds_of(
        tmp_path,
        a_match(1, avgc_home=2.2),
        a_match(2, **no("avgc", "draw"), b365c_home=2.3),
        a_match(3, **no("avgc"), **no("b365c")),
    )
    assert (average["closing_home"], average["closing_source"]) == (2.2, "market average")
    assert (own["closing_home"], own["closing_draw"], own["closing_source"]) == (2.3, 3.0, "Bet365 (pre-match)")
    assert (none["closing_home"], none["closing_source"]) == (None, None)


def test_simulated_prices_say_so(tmp_path: Path) -> None:
    (row,) = odds_of(tmp_path, a_match(1), simulated=True)
    assert row["bookmaker"] == "Simulated bookmaker"


def test_a_folder_with_a_quote_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "Nott'm Forest"
    folder.mkdir()
    assert len(odds_of(folder, a_match(1))) == 1


def test_predictions_are_the_matches_with_the_models_words(tmp_path: Path) -> None:
    matches = stored(
        tmp_path,
        a_match(2, has_time=False),
        a_match(1, status="upcoming", home_score=None, away_score=None, outcome=None),
    )
    probabilities = pa.table(
        {
            "match_id": [1, 2],
            "proba_home": [0.5, 0.2],
            "proba_draw": [0.3, 0.3],
            "proba_away": [0.2, 0.5],
            "predicted_class": pa.array([0, 2], pa.int8()),
            "model_name": ["m"] * 2,
            "model_version": ["3"] * 2,
            "model_stage": ["champion", "walk-forward"],
            "model_run_id": ["r"] * 2,
            "in_sample": [False] * 2,
        }
    )
    out = tmp_path / "predictions.parquet"
    assert write_predictions(matches, probabilities, out, KICKOFF) == 2
    first, second = pq.read_table(out).to_pylist()
    assert (first["match_id"], first["status"], first["home_score"], first["proba_home"]) == (1, "upcoming", None, 0.5)
    assert (second["match_id"], second["outcome"], second["model_stage"]) == (2, 0, "walk-forward")
    assert first["computed_at"] == KICKOFF
    assert (first["has_time"], second["has_time"]) == (True, False)


def test_history_of_a_team_is_what_it_played_in_the_400_days_before(tmp_path: Path) -> None:
    def on(match_id: int, days: float, home: str, away: str, status: str = "finished") -> dict[str, Any]:
        kickoff = KICKOFF + timedelta(days=days)
        return a_match(match_id, kickoff_utc=kickoff, home_team=home, away_team=away, status=status)

    matches = stored(
        tmp_path,
        on(1, -401, "Arsenal", "Leeds"),
        on(2, -400, "Leeds", "Arsenal"),
        on(3, -30, "Arsenal", "Stoke"),
        on(4, -20, "Arsenal", "Leeds", status="cancelled"),
        on(5, -0.2, "Stoke", "Arsenal"),  # the same day
        on(6, 0, "Arsenal", "Leeds"),
        on(7, 3, "Leeds", "Newcomers", status="upcoming"),
    )
    found = predicted(matches, 7)
    histories = {i: (row["n_history_home"], row["n_history_away"]) for i, row in found.items()}
    assert histories == {1: (0, 0), 2: (1, 1), 3: (2, 0), 4: (3, 2), 5: (1, 2), 6: (2, 1), 7: (1, 0)}


def test_match_without_odds_says_why(tmp_path: Path) -> None:
    def prices(*books: str) -> dict[str, float | None]:
        every = (*BOOKS, "psc")
        return {f"{book}_{side}": 2.0 + i if book in books else None for book in every for i, side in enumerate(SIDES)}

    matches = [
        a_match(1),
        a_match(2, **prices("b365c")),
        a_match(3, **prices("avgc")),
        a_match(4, **prices("psc"), odds_captured_at=None),
        a_match(5, **prices()),
        a_match(6, odds_unsound=True),
        a_match(7, **prices("b365")),
        a_match(8, **prices("b365") | {"b365_draw": None}),
    ]
    found = predicted(stored(tmp_path, *matches), len(matches))
    assert {i: row["no_odds_reason"] for i, row in found.items()} == {
        1: None,
        **dict.fromkeys((2, 3, 4), "no_opening_price"),
        5: "no_price",
        6: "contradicted_price",
        7: None,
        8: "no_price",
    }
    priced = {row["match_id"] for row in odds_of(tmp_path, *matches)}
    assert priced == {i for i, row in found.items() if row["no_odds_reason"] is None}


def predicted(matches: Path, n: int) -> dict[int, dict[str, Any]]:
    """Return the rows of predictions.parquet by match; every match has the same chances."""
    same = {"proba_home": 0.5, "proba_draw": 0.3, "proba_away": 0.2, "predicted_class": 0, "in_sample": False}
    model = {"model_name": "m", "model_version": "1", "model_stage": "champion", "model_run_id": "r"}
    probabilities = pa.Table.from_pylist([{"match_id": i, **same, **model} for i in range(1, n + 1)])
    out = matches.parent / "predictions.parquet"
    write_predictions(matches, probabilities, out, KICKOFF)
    return {row["match_id"]: row for row in pq.read_table(out).to_pylist()}
