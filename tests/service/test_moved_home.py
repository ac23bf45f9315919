"""The folder of all state can be moved and copied: its registry follows."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from app.settings import Settings
from infra.local.home import Home
from tests.support.models import NAME, TinyRegistry, tiny_booster, tiny_rows
from worker.inference import Probabilities, predict_proba

pytestmark = pytest.mark.timeout(600)  # imports MLflow and makes a registry


def load_champion(home: Home) -> Probabilities:
    from worker.registry import ModelRegistry  # noqa: PLC0415  # MLflow is slow to import

    settings = Settings(mlflow_tracking_uri=f"sqlite:///{home.registry / 'mlflow.db'}", model_name=NAME)
    registry = ModelRegistry(settings)
    version = registry.version_of("champion")
    assert version is not None
    return registry.load("champion", version).predictor.probabilities(tiny_rows(3))


def addresses(home: Home) -> str:
    with closing(sqlite3.connect(home.registry / "mlflow.db")) as connection:
        return "\n".join(line for line in connection.iterdump() if "file:" in line)


def test_copy_and_moved_home_load_their_own_models(tmp_path: Path) -> None:
    original = Home(tmp_path / "original")
    original.registry.mkdir(parents=True)
    TinyRegistry(original.registry).prepare().add_booster(tiny_booster(), alias="champion")
    copied, moved = Home(tmp_path / "a copy"), Home(tmp_path / "deeper" / "moved")
    shutil.copytree(original.root, copied.root)
    copied.relocate_registry()
    assert str(original.root) not in addresses(copied)
    assert addresses(copied).count((copied.root / "mlflow").as_uri()) >= 4
    before = addresses(original)
    original.relocate_registry()
    assert addresses(original) == before
    moved.root.parent.mkdir()
    shutil.move(original.root, moved.root)
    moved.relocate_registry()
    expected = predict_proba(tiny_booster(), tiny_rows(3))
    for home in (copied, moved):
        assert np.abs(load_champion(home) - expected).max() < 1e-6


def test_addresses_elsewhere_stay(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (home.registry / "artifacts").mkdir(parents=True)
    home.relocate_registry()  # there is no database yet
    with closing(sqlite3.connect(home.registry / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE other (artifact_location)")
    home.relocate_registry()  # nor is it MLflow's
    elsewhere = ["s3://bucket/mlflow/artifacts", "file:///data/models", None, "mlflow-artifacts:/1"]
    with closing(sqlite3.connect(home.registry / "mlflow.db")) as connection, connection:
        connection.execute("CREATE TABLE experiments (artifact_location)")
        connection.executemany("INSERT INTO experiments VALUES (?)", [(each,) for each in elsewhere])
    home.relocate_registry()
    with closing(sqlite3.connect(home.registry / "mlflow.db")) as connection:
        assert [row[0] for row in connection.execute("SELECT artifact_location FROM experiments")] == elsewhere
