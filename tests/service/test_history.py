"""The history that builds and imports leave: append-only, and true to what was known when."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS, PREDICTIONS, PRICES, check, history_pattern, read_manifest
from tests.support.build_artifacts import FIRST_ID, NOW, Edit, stamp, write_artifacts
from worker.pipeline.output.history import EarlierHistory, extend_history
from worker.pipeline.output.publication import Origin, publish, staging

TOMORROW = NOW + timedelta(days=1)
UPCOMING = FIRST_ID + 58  # in three days
SIDES = ("home", "draw", "away")


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    parts = sorted(folder.glob(history_pattern(kind)))
    return [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]


def of_match(folder: Path, kind: str, match_id: int) -> list[dict[str, Any]]:
    return [row for row in rows(folder, kind) if row["match_id"] == match_id]


def build(target: Path, now: datetime, **edit: Edit) -> None:
    """Publish a folder as a build does that finds the target's history."""
    earlier = EarlierHistory.of_folder(target, read_manifest(target)) if target.exists() else EarlierHistory(target)
    with staging(target) as staged:
        write_artifacts(staged, odds_share=1.0)
        for name, change in ((PREDICTIONS, edit.get("predictions")), (ODDS, edit.get("odds"))):
            if change:
                pq.write_table(change(pq.read_table(staged / name)), staged / name)
        until = extend_history(staged, earlier, now)
        publish(
            staged,
            target,
            Origin("simulated", simulated=True, seed=0, data_until=NOW, features_computed_at=NOW, history_until=until),
            {},
            now,
        )


def changed(match_id: int, **values: Any) -> Edit:
    def change(table: pa.Table) -> pa.Table:
        edited = [row | values if row["match_id"] == match_id else row for row in table.to_pylist()]
        return pa.Table.from_pylist(edited, table.schema)

    return change


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A folder published for the first time, at NOW."""
    build(tmp_path / "artifacts", NOW)
    return tmp_path / "artifacts"


def test_first_build_dates_everything_by_when_it_could_have_been_known(target: Path) -> None:
    assert check(target) == ()
    assert read_manifest(target).history_until == NOW
    for row in rows(target, "predictions"):
        day = row["kickoff_utc"].replace(hour=0)
        # sixty matches, the first six of them in sample, the last twelve to come
        expected = NOW if row["in_sample"] or row["kickoff_utc"] > NOW else day
        assert row["known_at"] == expected
    for row in rows(target, "odds"):
        assert row["known_at"] == min(row["captured_at"], NOW)
    kickoffs = {row["match_id"]: row["kickoff_utc"] for row in rows(target, "predictions")}
    results = rows(target, "results")
    assert len(results) == 48
    assert all(row["known_at"] == kickoffs[row["match_id"]] + timedelta(hours=2) for row in results)


def test_a_build_without_news_adds_nothing(target: Path) -> None:
    before = {path: path.stat().st_ino for path in target.glob("history/*/*/*")}
    build(target, TOMORROW)
    assert {path: path.stat().st_ino for path in target.glob("history/*/*/*")} == before
    assert read_manifest(target).history_until == TOMORROW
    assert check(target) == ()


def test_a_build_adds_what_is_new_to_the_folder_of_its_day(target: Path) -> None:
    before = {path: path.read_bytes() for path in target.glob("history/*/*/*")}
    better = {"proba_home": 0.8, "proba_draw": 0.1, "proba_away": 0.1, "predicted_class": 0, "computed_at": TOMORROW}
    build(
        target,
        TOMORROW,
        predictions=changed(UPCOMING, **better),
        odds=changed(UPCOMING, odds_home=1.5, captured_at=TOMORROW),
    )
    assert {path: path.read_bytes() for path in before} == before
    added = set(target.glob("history/*/*/*")) - set(before)
    assert {path.parent.name for path in added} == {"day=2026-08-21"}
    first, second = of_match(target, "predictions", UPCOMING)
    assert (first["known_at"], second["known_at"], second["proba_home"]) == (NOW, TOMORROW, 0.8)
    offers = [row for row in of_match(target, "odds", UPCOMING) if row["kind"] == "offer"]
    assert [row["odds_home"] == 1.5 for row in offers] == [False, True]
    assert check(target) == ()


def test_what_is_learnt_late_counts_from_then_on(target: Path) -> None:
    """Else an answer about last week would change."""
    played = FIRST_ID + 30
    build(
        target,
        TOMORROW,
        predictions=changed(played, home_score=9, away_score=0, outcome=0),
        odds=changed(played, odds_home=7.5),
    )
    assert of_match(target, "results", played)[-1]["known_at"] == TOMORROW
    late = [row for row in of_match(target, "odds", played) if row["odds_home"] == 7.5]
    assert [row["known_at"] for row in late] == [TOMORROW]
    # its prediction was made before it was played: another one now is none
    assert len(of_match(target, "predictions", played)) == 1


def test_price_taken_between_two_builds_counts_from_its_capture(target: Path) -> None:
    captured = NOW + timedelta(hours=3)
    build(target, TOMORROW, odds=changed(UPCOMING, odds_home=1.5, captured_at=captured))
    assert of_match(target, "odds", UPCOMING)[-1]["known_at"] == captured


def test_withdrawn_result_is_withdrawn_in_the_history(target: Path) -> None:
    nothing = {"status": "upcoming", "home_score": None, "away_score": None, "outcome": None}
    build(target, TOMORROW, predictions=changed(FIRST_ID + 47, **nothing))
    assert [row["status"] for row in of_match(target, "results", FIRST_ID + 47)] == ["finished", "upcoming"]


def test_a_clock_set_back_adds_after_the_end_all_the_same(target: Path) -> None:
    build(target, NOW - timedelta(days=2), odds=changed(UPCOMING, odds_home=1.5))
    assert of_match(target, "odds", UPCOMING)[-1]["known_at"] > NOW
    assert read_manifest(target).history_until == of_match(target, "odds", UPCOMING)[-1]["known_at"]


def test_a_bet_is_judged_at_the_odds_that_stood_when_its_prediction_was_made(target: Path) -> None:
    """Of a played match a later, better price changes nothing; of a match to come the newest counts."""
    played = FIRST_ID + 31  # at eight in the morning
    kickoff = of_match(target, "predictions", played)[0]["kickoff_utc"]
    before = {row["match_id"]: row for row in pq.read_table(target / ODDS).to_pylist()}
    late = changed(played, odds_home=50.0, captured_at=kickoff - timedelta(minutes=5))
    build(target, TOMORROW, odds=lambda odds: changed(UPCOMING, odds_home=1.5, captured_at=TOMORROW)(late(odds)))
    after = {row["match_id"]: row for row in pq.read_table(target / ODDS).to_pylist()}
    assert after.pop(UPCOMING)["odds_home"] == 1.5
    assert after == {match_id: row for match_id, row in before.items() if match_id != UPCOMING}


def test_imported_odds_survive_the_next_build(target: Path) -> None:
    build(target, TOMORROW, odds=changed(UPCOMING, odds_home=1.5, bookmaker="Fonbet", captured_at=TOMORROW))
    build(target, TOMORROW + timedelta(hours=1))
    row = next(row for row in pq.read_table(target / ODDS).to_pylist() if row["match_id"] == UPCOMING)
    assert (row["bookmaker"], row["odds_home"]) == ("Fonbet", 1.5)


@pytest.fixture(params=["odds", "predictions", "results"])
def part(request: pytest.FixtureRequest, target: Path) -> Path:
    """One part of each history."""
    (path,) = target.glob(history_pattern(request.param))
    return path


def test_part_without_a_column_breaks_the_contract(target: Path, part: Path) -> None:
    pq.write_table(pq.ParquetFile(part).read().drop_columns(["known_at"]), part)
    stamp(target)
    (fault,) = check(target)
    assert (fault.file, fault.code) == (part.relative_to(target).as_posix(), "missing-column")


def test_part_with_an_unknown_time_breaks_the_contract(target: Path, part: Path) -> None:
    table = pq.ParquetFile(part).read()
    place = table.column_names.index("known_at")
    nulls = pa.nulls(len(table), table.schema.field("known_at").type)
    pq.write_table(table.set_column(place, "known_at", nulls), part)
    stamp(target)
    (fault,) = check(target)
    assert (fault.code, "known_at" in fault.detail) == ("null", True)


def test_part_that_is_no_parquet_breaks_the_contract(target: Path, part: Path) -> None:
    part.write_bytes(b"PAR1 nothing")
    stamp(target)
    assert [fault.code for fault in check(target)] == ["unreadable"]


def test_prices_of_every_bookmaker_have_a_history(tmp_path: Path) -> None:
    target = tmp_path / "artifacts"

    def build_priced(now: datetime, edit: Edit | None = None) -> None:
        earlier = EarlierHistory.of_folder(target, read_manifest(target)) if target.exists() else EarlierHistory(target)
        with staging(target) as staged:
            write_artifacts(staged, odds_share=1.0, n_books=2)
            if edit:
                pq.write_table(edit(pq.read_table(staged / PRICES)), staged / PRICES)
            until = extend_history(staged, earlier, now)
            origin = Origin("simulated", True, 0, NOW, NOW, until)
            publish(staged, target, origin, {}, now)

    def later(table: pa.Table) -> pa.Table:
        edited = [
            row | {"odds_home": 9.0, "captured_at": NOW + timedelta(hours=3)}
            if (row["match_id"], row["bookmaker"], row["kind"]) == (UPCOMING, "Book 1", "offer")
            else row
            for row in table.to_pylist()
            if (row["match_id"], row["bookmaker"]) != (UPCOMING, "Book 2")  # nobody says it any more
        ]
        return pa.Table.from_pylist(edited, table.schema)

    build_priced(NOW)
    first = rows(target, "prices")
    assert sorted(map(str, pq.read_table(target / PRICES).to_pylist())) == sorted(
        str({name: value for name, value in row.items() if name != "known_at"}) for row in first
    )
    build_priced(TOMORROW, later)
    offers = [row for row in of_match(target, "prices", UPCOMING) if row["kind"] == "offer"]
    assert len(offers) == 4
    assert [(row["bookmaker"], row["odds_home"]) for row in offers if row["known_at"] > NOW] == [("Book 1", 9.0)]
    standing = {
        row["bookmaker"]: row["odds_home"]
        for row in pq.read_table(target / PRICES).to_pylist()
        if row["match_id"] == UPCOMING and row["kind"] == "offer"
    }
    # the newest of each; what a file no longer says was said all the same
    assert standing["Book 1"] == 9.0
    assert set(standing) == {"Book 1", "Book 2", "market average"}
    assert check(target) == ()
