import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import DRIFT, DRIFT_HTML, DriftReport
from app.domain.drift import FeatureState, ReportState, Verdict
from worker.pipeline.drift import comparison as compare
from worker.pipeline.drift.build_process import drift_process
from worker.pipeline.drift.drift_report import write_drift_report
from worker.pipeline.drift.samples import DriftJob
from worker.pipeline.failures import BuildStopped

START = datetime(2024, 1, 1, tzinfo=UTC)
CUT = START + timedelta(days=500)
N = 1000

# Evidently takes ten seconds and more to import on a busy machine
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def job(folder: Path, features: dict[str, np.ndarray], **changes: Any) -> DriftJob:
    """One match a day from START on, with the features given."""
    kickoffs = pa.array([START + timedelta(days=day) for day in range(N)], pa.timestamp("us", "UTC"))
    ids = {"match_id": pa.array(range(N), pa.int64())}
    pq.write_table(pa.table(ids | {"kickoff_utc": kickoffs, "status": ["finished"] * N}), folder / "matches.parquet")
    columns = {name: pa.array(values.astype(np.float32)) for name, values in features.items()}
    pq.write_table(pa.table(ids | columns), folder / "features.parquet")
    windows: dict[str, Any] = {"reference_since": START, "reference_until": CUT, "current_since": CUT} | changes
    return DriftJob(folder / "matches.parquet", folder / "features.parquet", **windows, computed_at=CUT, simulated=True)


def made(asked: DriftJob, folder: Path, predictions: Path | None = None) -> DriftReport:
    return write_drift_report(asked, folder, lambda: predictions)


def states(report: DriftReport) -> dict[str, FeatureState | None]:
    return {feature.feature: feature.state for feature in report.features}


def test_drift_of_features_that_moved_stayed_and_are_unknown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steady, late = rng.normal(size=N), np.arange(N) >= 500
    report = made(
        job(
            tmp_path,
            {
                "steady": steady,
                "moved": rng.normal(size=N) + 2 * late,
                "constant": np.ones(N),
                "never_known": np.full(N, np.nan),
                "known_late": np.where(late, steady, np.nan),
            },
        ),
        tmp_path,
    )
    drifted = {feature.feature: feature.drifted for feature in report.features}
    assert drifted == {"moved": True, "steady": False, "constant": False, "never_known": None, "known_late": None}
    assert states(report) == {
        "moved": FeatureState.COMPARED,
        "steady": FeatureState.COMPARED,
        "constant": FeatureState.CONSTANT,
        "never_known": FeatureState.NEVER_KNOWN,
        "known_late": FeatureState.UNKNOWN_BEFORE,
    }
    assert report.summary.startswith("Severe: 1 of 3 features (33.3%) drifted; chance alone would give 0.5%.")
    assert "Worst: moved (" in report.summary
    assert report.features[0].feature == "moved"
    assert (report.n_features, report.n_drifted, report.score) == (5, 1, pytest.approx(1 / 3))
    assert report.verdict is Verdict.SEVERE
    assert report.reference == {"from": "2024-01-01", "to": "2025-05-14", "matches": 500, "rows": 500}
    assert DriftReport.model_validate_json((tmp_path / DRIFT).read_bytes()) == report
    page = (tmp_path / DRIFT_HTML).read_text()
    assert "simulated matches" in page
    assert "severe" in page
    assert len(page) < 10_000_000


def test_nothing_to_compare_is_a_state_of_its_own(tmp_path: Path) -> None:
    nothing_since = job(tmp_path, {"elo": np.ones(N)}, current_since=START + timedelta(days=5000))
    report = made(nothing_since, tmp_path)
    assert (report.verdict, report.score, report.state) == (Verdict.NO_DATA, None, ReportState.NO_CURRENT)
    assert json.loads((tmp_path / DRIFT).read_text())["current"] == {"from": None, "to": None, "matches": 0, "rows": 0}
    assert "No feature could be compared" in (tmp_path / DRIFT_HTML).read_text()


def test_without_a_reference_nothing_is_compared(tmp_path: Path) -> None:
    report = made(job(tmp_path, {"elo": np.ones(N)}, reference_until=START), tmp_path)
    assert (report.verdict, report.state) == (Verdict.NO_DATA, ReportState.NO_REFERENCE)
    assert report.summary == "Nothing was compared: no reference."


def test_nothing_but_missing_values_is_a_state(tmp_path: Path) -> None:
    report = made(job(tmp_path, {"a": np.full(N, np.nan), "b": np.full(N, np.inf)}), tmp_path)
    assert (report.verdict, report.state) == (Verdict.NO_DATA, ReportState.NOTHING_COMPARABLE)
    assert set(states(report).values()) == {FeatureState.NEVER_KNOWN}
    assert [feature.missing_current for feature in report.features] == [1.0, 1.0]


def test_odd_columns_are_states_and_none_of_them_spoils_the_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steady, late = rng.normal(size=N), np.arange(N) >= 500
    report = made(
        job(
            tmp_path,
            {
                "steady": steady,
                "gone_dark": np.where(late, np.nan, steady),
                "sparse": np.where(rng.random(N) < 0.02, steady, np.nan),
                "other_constant": late,
                "constant_no_more": np.where(late, steady, 1.0),
                "infinite": np.where(rng.random(N) < 0.5, np.inf, steady),
            },
        ),
        tmp_path,
    )
    assert states(report) == {
        "steady": FeatureState.COMPARED,
        "gone_dark": FeatureState.UNKNOWN_NOW,
        "sparse": FeatureState.TOO_FEW,
        "other_constant": FeatureState.COMPARED,
        "constant_no_more": FeatureState.COMPARED,
        "infinite": FeatureState.COMPARED,
    }
    drifted = {feature.feature: feature.drifted for feature in report.features}
    assert drifted["other_constant"] is drifted["constant_no_more"] is True
    assert drifted["infinite"] is drifted["steady"] is False


def test_features_that_the_champion_does_not_know_and_those_it_misses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = {"kept": rng.normal(size=N), "fresh": rng.normal(size=N)}
    report = made(job(tmp_path, features, trained_on=("kept", "lost")), tmp_path)
    assert states(report) == {
        "kept": FeatureState.COMPARED,
        "lost": FeatureState.VANISHED,
        "fresh": FeatureState.NEW,
    }
    assert "missing now" in report.summary


def test_few_rows_differ_by_chance_and_are_called_too_few(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = {f"f{n}": rng.normal(size=N) for n in range(10)}
    report = made(job(tmp_path, features, current_since=START + timedelta(days=N - 40)), tmp_path)
    assert (report.verdict, report.state) == (Verdict.NO_DATA, ReportState.TOO_FEW_ROWS)
    # that is why: nothing has changed, and yet
    assert report.n_drifted > 5
    assert report.share_by_chance == pytest.approx(report.n_drifted / 10, abs=0.4)


def predicted(asked: DriftJob, home: np.ndarray, versions: np.ndarray, seen: np.ndarray | None) -> Path:
    """The matches' table with predictions; without `seen` nobody says which of them a model was trained on."""
    table = pq.read_table(asked.matches)
    columns: dict[str, Any] = {"proba_home": home, "proba_draw": np.full(N, 0.2), "proba_away": 0.8 - home}
    for name, values in (columns | {"model_version": versions}).items():
        table = table.append_column(name, pa.array(values))
    path = asked.matches.with_name("predictions.parquet")
    pq.write_table(table if seen is None else table.append_column("in_sample", pa.array(seen)), path)
    return path


def test_predictions_are_compared_with_earlier_ones_of_the_same_model(tmp_path: Path) -> None:
    rng, day = np.random.default_rng(0), np.arange(N)
    asked = job(tmp_path, {"elo": rng.normal(size=N)}, reference_until=CUT - timedelta(days=300))
    # the model before it said other things altogether, which is no drift
    versions = np.where(day < 200, "wf", "1")
    home = np.clip(rng.normal(np.where(day < 200, 0.7, 0.4), 0.05), 0, 1)
    report = made(asked, tmp_path, predicted(asked, home, versions, np.zeros(N, dtype=bool)))
    assert {feature.feature: feature.drifted for feature in report.probabilities} == {
        "proba_home": False, "proba_away": False, "proba_draw": False,
    }  # fmt: skip
    assert report.probabilities_reference == {
        "from": "2024-07-19", "to": "2025-05-15", "model_version": "1", "rows": 300,
    }  # fmt: skip
    assert "Predicted probabilities: steady." in report.summary
    assert report.n_features == 1


@pytest.mark.parametrize("says_which", [True, False])
def test_predictions_of_a_new_model_are_compared_with_those_of_the_reference(tmp_path: Path, says_which: bool) -> None:
    rng, late = np.random.default_rng(0), np.arange(N) >= 500
    asked = job(tmp_path, {"elo": rng.normal(size=N)})
    seen = rng.random(N) < 0.3
    home = np.where(seen, 0.75, np.clip(rng.normal(np.where(late, 0.6, 0.4), 0.05), 0, 0.8))
    path = predicted(asked, home, np.full(N, "1"), seen if says_which else None)
    report = made(asked, tmp_path, path)
    found = {feature.feature: feature for feature in report.probabilities}
    assert found["proba_home"].drifted
    assert found["proba_draw"].state is FeatureState.CONSTANT
    assert "Predicted probabilities: proba_" in report.summary
    # those of the training count only where nobody says which they are
    assert report.probabilities_reference["rows"] == (500 - seen[:500].sum() if says_which else 500)


def test_a_column_over_which_evidently_falls_costs_nobody_else_his_place() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"f{n}": rng.normal(size=200) for n in range(5)}, dtype=np.float32)
    frame["f2"] = np.linspace(-3.4e38, 3.4e38, 200, dtype=np.float32)  # its range is no float32 any more
    with pytest.warns(UserWarning, match="f2 could not be compared"):
        found = {feature.feature: feature.state for feature in compare.compare(frame, frame)}
    assert found == {f"f{n}": FeatureState.FAILED if n == 2 else FeatureState.COMPARED for n in range(5)}


def test_the_scores_are_those_of_evidentlys_own_report() -> None:
    rng = np.random.default_rng(0)
    reference = {"normal": rng.normal(size=N), "counts": rng.poisson(2, N), "rare": rng.random(N) < 0.001}
    current = {"normal": rng.normal(0.4, 1.3, N), "counts": rng.poisson(3, N), "rare": rng.random(N) < 0.2}
    reference["gaps"] = np.where(rng.random(N) < 0.5, np.nan, reference["normal"])
    current["gaps"] = np.where(rng.random(N) < 0.9, np.nan, current["normal"])
    before, now = pd.DataFrame(reference, dtype=np.float32), pd.DataFrame(current, dtype=np.float32)
    found = {feature.feature: feature for feature in compare.compare(before, now)}
    own = compare.evidently_report(before, now, list(reference)).dict()
    scores = {metric["config"]["column"]: float(metric["value"]) for metric in own["metrics"]}
    assert {name: feature.score for name, feature in found.items()} == scores
    failed = {test["metric_config"]["params"]["column"]: test["status"].value == "FAIL" for test in own["tests"]}
    assert {name: feature.drifted for name, feature in found.items()} == failed
    assert set(failed.values()) == {True, False} or all(failed.values())


def test_the_same_matches_give_the_same_report(tmp_path: Path) -> None:
    features = {"elo": np.random.default_rng(0).normal(size=N)}
    first = made(job(tmp_path, features), tmp_path)
    assert made(job(tmp_path, features), tmp_path) == first


def test_a_report_made_in_a_process_of_its_own(tmp_path: Path) -> None:
    with drift_process(job(tmp_path, {"elo": np.ones(N)}), tmp_path) as process:
        assert process.result(None).n_features == 1


def test_a_report_that_cannot_be_made_stops_the_build(tmp_path: Path) -> None:
    broken = job(tmp_path, {"elo": np.ones(N)})
    broken.features.write_bytes(b"no parquet")
    with drift_process(broken, tmp_path) as process, pytest.raises(BuildStopped, match="drift"):
        process.result()
    assert not (tmp_path / DRIFT).exists()


def test_a_build_that_ends_early_ends_the_report(tmp_path: Path) -> None:
    with drift_process(job(tmp_path, {"elo": np.ones(N)}), tmp_path):
        assert [child.name for child in multiprocessing.active_children()] == ["drift"]
    assert multiprocessing.active_children() == []
