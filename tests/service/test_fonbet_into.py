"""Fonbet's line published into an artifacts folder: its matches get its odds, and the folder keeps its word."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import FILES, MANIFEST, ODDS, PREDICTIONS, PRICES, check, history_pattern, read_manifest
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.unit.test_fonbet import KICKOFF, event, feed, flat
from tests.unit.test_fonbet_linking import CAPTURED
from worker.pipeline.bookmaker_feed.import_odds import main
from worker.pipeline.output.publication import staging

OURS = 48  # the first coming match of the folder, in England
OUR_ID = FIRST_ID + OURS


def as_arsenal_chelsea(predictions: pa.Table) -> pa.Table:
    rows = predictions.to_pylist()
    rows[OURS] |= {"home_team": "Arsenal", "away_team": "Chelsea", "kickoff_utc": KICKOFF}
    return pa.Table.from_pylist(rows, predictions.schema)


def unpriced(odds: pa.Table) -> pa.Table:
    return pa.concat_tables([odds.slice(0, OURS), odds.slice(OURS + 1)])


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A valid folder whose match OURS is in the feed, with odds for every match."""
    return write_artifacts(tmp_path / "artifacts", odds_share=1.0, edit={PREDICTIONS: as_arsenal_chelsea})


@pytest.fixture
def line(tmp_path: Path) -> str:
    """A feed with one match of ours and one of nobody's."""
    return str(feed(tmp_path, events=[event(7), event(8, team1="Тотнем")], customFactors=flat(7) + flat(8)))


def run(line: str, *options: str | Path) -> int:
    return main([line, "--captured-at", CAPTURED.isoformat(), *map(str, options)])


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (*FILES, MANIFEST)}


def test_linked_odds_take_the_place_of_those_of_their_match(artifacts: Path, line: str) -> None:
    before, files = pq.read_table(artifacts / ODDS), contents(artifacts)
    assert run(line, "--into", artifacts) == 0
    after = pq.read_table(artifacts / ODDS)
    expected = before.to_pylist()
    expected[OURS] |= {"odds_home": 2.1, "odds_draw": 3.4, "odds_away": 3.6}
    expected[OURS] |= {"bookmaker": "Fonbet", "event_url": None, "captured_at": CAPTURED}
    assert after.schema == before.schema
    # every other row, and the closing prices of this one, are as they were
    assert after.to_pylist() == expected
    assert check(artifacts) == ()
    assert read_manifest(artifacts).files[ODDS].rows == len(after)
    changed = {name for name, content in contents(artifacts).items() if content != files[name]}
    assert changed == {ODDS, MANIFEST}
    assert not list(artifacts.parent.glob("*staging*"))


def test_a_match_without_odds_gets_some(tmp_path: Path, line: str) -> None:
    edit = {PREDICTIONS: as_arsenal_chelsea, ODDS: unpriced}
    artifacts = write_artifacts(tmp_path / "artifacts", odds_share=1.0, edit=edit)
    assert run(line, "--into", artifacts) == 0
    *others, added = pq.read_table(artifacts / ODDS).to_pylist()
    assert OUR_ID not in {row["match_id"] for row in others}
    assert (added["match_id"], added["odds_home"], added["closing_home"]) == (OUR_ID, 2.1, None)
    assert check(artifacts) == ()


def test_prices_from_after_kickoff_change_nothing(artifacts: Path, line: str) -> None:
    before = contents(artifacts)
    assert main([line, "--into", str(artifacts), "--captured-at", KICKOFF.isoformat()]) == 0
    assert contents(artifacts) == before


def test_odds_of_a_match_the_folder_does_not_know_are_refused(
    tmp_path: Path, artifacts: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """--matches may name another table, whose match is no match of these artifacts."""
    table = pq.read_table(artifacts / PREDICTIONS).to_pylist()[OURS] | {"match_id": 5}
    pq.write_table(pa.Table.from_pylist([table]), tmp_path / "other.parquet")
    before = contents(artifacts)
    assert run(line, "--into", artifacts, "--matches", tmp_path / "other.parquet") == 1
    assert "unknown-match" in capsys.readouterr().err
    assert contents(artifacts) == before


def test_a_folder_that_breaks_its_contract_is_left_alone(
    artifacts: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pq.read_table(artifacts / ODDS).slice(1), artifacts / ODDS)
    before = contents(artifacts)
    assert run(line, "--into", artifacts) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "breaks the contract as it is" in sentence
    assert contents(artifacts) == before


def test_a_folder_without_manifest_is_no_artifacts_folder(
    artifacts: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (artifacts / MANIFEST).unlink()
    assert run(line, "--into", artifacts) == 1
    assert "no artifacts folder" in capsys.readouterr().err


def test_an_import_waits_for_no_build(artifacts: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with staging(artifacts):
        assert run(line, "--into", artifacts) == 1
    assert "Another build is writing" in capsys.readouterr().err


@pytest.mark.parametrize("name", [ODDS, "fonbet.parquet"])
def test_a_table_of_just_the_linked_rows_may_not_lie_among_published_files(
    artifacts: Path, line: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(artifacts)
    assert run(line, "--matches", artifacts, "--out", artifacts / name) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert f"use --into {artifacts}" in sentence
    assert contents(artifacts) == before


def test_odds_published_twice_are_those_of_the_last_line(artifacts: Path, line: str, tmp_path: Path) -> None:
    assert run(line, "--into", artifacts) == 0
    (tmp_path / "later").mkdir()
    later = feed(tmp_path / "later", events=[event(7)], customFactors=flat(7, {921: 1.9, 922: 3.4, 923: 4.0}))
    assert run(str(later), "--into", artifacts) == 0
    row = pq.read_table(artifacts / ODDS).to_pylist()[OURS]
    assert (row["match_id"], row["odds_home"], row["odds_away"]) == (OUR_ID, 1.9, 4.0)
    assert check(artifacts) == ()


def test_out_alone_needs_matches(tmp_path: Path, line: str) -> None:
    with pytest.raises(SystemExit):
        run(line, "--out", tmp_path / "odds.parquet")


def test_the_line_joins_the_prices_of_all_bookmakers(tmp_path: Path, line: str) -> None:
    artifacts = write_artifacts(
        tmp_path / "artifacts",
        odds_share=1.0,
        edit={PREDICTIONS: as_arsenal_chelsea},
        n_books=3,
        with_history=True,
        now=CAPTURED - timedelta(hours=1),
    )
    before = sorted(map(str, pq.read_table(artifacts / PRICES).to_pylist()))
    for _ in range(2):  # the second import of the same line changes nothing
        assert run(line, "--into", artifacts) == 0
    after = pq.read_table(artifacts / PRICES).to_pylist()
    own = [row for row in after if row["bookmaker"] == "Fonbet"]
    assert sorted(str(row) for row in after if row["bookmaker"] != "Fonbet") == before
    assert [(row["match_id"], row["odds_home"], row["kind"]) for row in own] == [(OUR_ID, 2.1, "offer")]
    known = [row for part in artifacts.glob(history_pattern("prices")) for row in pq.read_table(part).to_pylist()]
    assert [row["odds_away"] for row in known if row["bookmaker"] == "Fonbet"] == [3.6]
    assert check(artifacts) == ()


def test_who_bets_elsewhere_keeps_his_odds(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKMAKER", "Book 1")
    edit = {PREDICTIONS: as_arsenal_chelsea}
    artifacts = write_artifacts(tmp_path / "artifacts", odds_share=1.0, edit=edit, n_books=3)
    odds = pq.read_table(artifacts / ODDS)
    assert run(line, "--into", artifacts) == 0
    assert pq.read_table(artifacts / ODDS) == odds
    assert "Fonbet" in pq.read_table(artifacts / PRICES)["bookmaker"].to_pylist()
