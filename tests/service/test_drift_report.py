import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.domain.drift import Verdict
from app.store.contract import DRIFT, DRIFT_HTML, DriftReport
from worker.batch.drift import DriftJob, write_drift_report
from worker.batch.drift_process import drift_process
from worker.batch.failures import BuildStopped

START = datetime(2024, 1, 1, tzinfo=UTC)
CUT = START + timedelta(days=500)
N = 1000

# Evidently takes ten seconds and more to import on a busy machine
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def job(folder: Path, features: dict[str, np.ndarray], **changes: datetime) -> DriftJob:
    """One match a day from START on, with the features given."""
    kickoffs = pa.array([START + timedelta(days=day) for day in range(N)], pa.timestamp("us", "UTC"))
    ids = {"match_id": pa.array(range(N), pa.int64())}
    pq.write_table(pa.table(ids | {"kickoff_utc": kickoffs, "status": ["finished"] * N}), folder / "matches.parquet")
    columns = {name: pa.array(values.astype(np.float32)) for name, values in features.items()}
    pq.write_table(pa.table(ids | columns), folder / "features.parquet")
    windows = {"reference_since": START, "reference_until": CUT, "current_since": CUT} | changes
    return DriftJob(folder / "matches.parquet", folder / "features.parquet", **windows, computed_at=CUT, simulated=True)


def test_drift_of_features_that_moved_stayed_and_are_unknown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steady, late = rng.normal(size=N), np.arange(N) >= 500
    report = write_drift_report(
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
    report = write_drift_report(nothing_since, tmp_path)
    assert (report.verdict, report.score) == (Verdict.NO_DATA, None)
    assert json.loads((tmp_path / DRIFT).read_text())["current"] == {"from": None, "to": None, "matches": 0, "rows": 0}
    assert "No feature could be compared" in (tmp_path / DRIFT_HTML).read_text()


def test_the_same_matches_give_the_same_report(tmp_path: Path) -> None:
    features = {"elo": np.random.default_rng(0).normal(size=N)}
    first = write_drift_report(job(tmp_path, features), tmp_path)
    assert write_drift_report(job(tmp_path, features), tmp_path) == first


def test_a_report_made_in_a_process_of_its_own(tmp_path: Path) -> None:
    with drift_process(job(tmp_path, {"elo": np.ones(N)}), tmp_path) as process:
        assert process.result().n_features == 1


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
