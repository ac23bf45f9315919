"""What the benchmarks run on."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from app.store.contract import FEATURES, MANIFEST, ODDS, PREDICTIONS, check
from infra.local.bench.synthetic import make_artifacts


def test_synthetic_artifacts_keep_the_contract_at_the_size_asked_for(tmp_path: Path) -> None:
    folder = make_artifacts(tmp_path / "made", 300, 7)
    assert check(folder) == ()
    features = pq.read_metadata(folder / FEATURES)
    assert (features.num_rows, features.num_columns) == (300, 8)
    statuses = pq.read_table(folder / PREDICTIONS)["status"].value_counts().to_pylist()
    assert {each["values"]: each["counts"] for each in statuses} == {"finished": 270, "upcoming": 30}
    assert 240 < pq.read_metadata(folder / ODDS).num_rows < 300


def test_synthetic_artifacts_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """So that two measurements are of the same thing."""
    first, second, other = [
        (make_artifacts(tmp_path / name, 100, 3, seed) / MANIFEST).read_text()
        for name, seed in (("first", 1), ("second", 1), ("other", 2))
    ]
    assert first == second != other


def test_bench_names_what_it_can_measure() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "infra.local.bench", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "live: from question to answer" in said
