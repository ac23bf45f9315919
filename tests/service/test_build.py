import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import FEATURES, INGEST, ODDS, PREDICTIONS, SCORES, check, history_pattern, read_manifest
from worker.pipeline.build import main
from worker.pipeline.simulation import simulator


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TOUCHLINE_HOME with nothing in it."""
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path))
    monkeypatch.setenv("ARTIFACTS_URI", str(tmp_path / "artifacts"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    return tmp_path


def left_over(home: Path) -> list[Path]:
    return [*home.glob("work/*"), *home.glob(".*staging*")]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_folder_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(home / "nowhere")]) == 1
    assert "There is no folder" in said(capsys)


def test_a_folder_without_matches_says_what_is_wrong_with_each_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "data").mkdir()
    (home / "data" / "E0.csv").write_text("<!doctype html><title>404</title>")
    assert main(["--data", str(home / "data")]) == 1
    words = said(capsys)
    assert "not read: E0.csv" in words
    assert "No matches were found" in words
    assert not (home / "artifacts").exists()
    assert left_over(home) == []


def test_a_folder_without_results_has_nothing_to_learn_from(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixtures = home / "data" / "fixtures"
    fixtures.mkdir(parents=True)
    (fixtures / "fixtures_2026-08-14.csv").write_text(
        "Div,Date,Time,HomeTeam,AwayTeam\nE0,15/08/2026,15:00,Arsenal,Leeds\n"
    )
    assert main(["--data", str(home / "data")]) == 1
    assert "nothing to learn from" in said(capsys)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_a_history_of_one_day_is_too_short(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "data").mkdir()
    lines = ["Div,Date,HomeTeam,AwayTeam,FTHG,FTAG,FTR", "E0,15/08/2026,Arsenal,Leeds,1,0,H"]
    (home / "data" / "E0.csv").write_text("\n".join(lines) + "\n")
    assert main(["--data", str(home / "data")]) == 1
    assert "too few matches" in said(capsys)
    assert left_over(home) == []


def test_a_bucket_cannot_be_built_into(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ARTIFACTS_URI", "s3://bucket/prefix")
    assert main([]) == 1
    assert "--out" in said(capsys)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_a_simulated_world_becomes_artifacts_that_keep_the_contract(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole pipeline, from result files to published artifacts and a champion."""
    # the drift report has tests of its own; a child that is traced takes twice as long for it
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    simulate_two_countries(home / "data", monkeypatch)
    assert main(["--data", str(home / "data"), "--out", str(home / "out")]) == 0
    out = home / "out"
    assert check(out) == ()
    assert left_over(home) == []

    manifest = read_manifest(out)
    assert (manifest.source, manifest.simulated) == ("simulated", True)
    assert manifest.data_until is not None
    assert manifest.data_until < datetime(2026, 3, 4, 12, tzinfo=UTC)
    n = manifest.files[PREDICTIONS].rows
    assert n == json.loads((out / INGEST).read_text())["matches"] == pq.read_metadata(out / FEATURES).num_rows

    predictions = pq.read_table(out / PREDICTIONS)
    assert set(predictions["status"].to_pylist()) == {"finished", "awaiting_result"}  # the build comes months after
    assert set(predictions["model_stage"].to_pylist()) == {"champion", "walk-forward"}
    assert set(pq.read_table(out / ODDS)["bookmaker"].to_pylist()) == {"Simulated bookmaker"}

    assert_remembered(out)

    words = said(capsys)
    assert "champion" in words
    assert "Published" in words
    scores = json.loads((out / SCORES).read_text())
    assert scores
    coming = predictions.filter(np.asarray(predictions["status"].to_pylist()) == "awaiting_result")
    assert 0.2 < np.mean(coming["proba_home"].to_numpy()) < 0.7


def simulate_two_countries(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As few matches as there is something to learn from."""
    monkeypatch.setattr(simulator, "COUNTRIES", simulator.COUNTRIES[:2])
    simulator.simulate(data, seed=3, now=datetime(2026, 3, 4, 12, tzinfo=UTC), n_seasons=4)


def assert_remembered(out: Path) -> None:
    """The history starts with every prediction and every price."""
    manifest = read_manifest(out)
    assert manifest.history_until is not None
    kinds = [row["kind"] for row in pq.read_table(sorted(out.glob(history_pattern("odds")))).to_pylist()]
    assert kinds.count("offer") == manifest.files[ODDS].rows
    assert kinds.count("closing") > 1000
    assert len(pq.read_table(sorted(out.glob(history_pattern("predictions"))))) == manifest.files[PREDICTIONS].rows
