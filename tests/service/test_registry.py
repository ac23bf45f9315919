"""Training into a real MLflow store, and back out of it by the worker's own loader."""

import numpy as np
import pytest

from app.settings import Settings
from tests.support.build_matches import WorldPlan, make_matches, write_matches
from worker.pipeline.features.form import build_features, feature_names
from worker.pipeline.progress import SilentProgress
from worker.pipeline.training.fitting import Dataset

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with a champion and a candidate, and all that went into it."""
    from worker.pipeline.training.registry import Provenance, TrainingRegistry  # noqa: PLC0415
    from worker.pipeline.training.training import train  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("registry")
    matches = write_matches(folder, make_matches(WorldPlan(seasons=7, teams=12, first_year=2018)))
    features = folder / "features.parquet"
    build_features(matches, features, SilentProgress())
    settings = Settings(mlflow_tracking_uri=f"sqlite:///{folder}/store/mlflow.db", touchline_home=folder)
    registry = TrainingRegistry(settings.mlflow_tracking_uri, settings.model_name, folder / "store" / "artifacts")
    provenance = Provenance("simulated", simulated=True, checksums={"matches.parquet": "abc"}, seed=5)
    result = train(matches, features, registry, provenance, SilentProgress())
    registry.promote(result.champion, result.candidate)
    return settings, result, matches, features


@pytest.mark.parametrize(("alias", "n_features"), [("champion", 508), ("candidate", 7)])
def test_worker_loads_what_was_registered(trained, alias, n_features):
    """By alias, with signature, tags and metrics; loading verifies the golden rows."""
    from worker.registry import ModelRegistry as Shelf  # noqa: PLC0415

    settings, result, _, _ = trained
    shelf, version = Shelf(settings), getattr(result, alias)
    assert shelf.version_of(alias) == version.version
    loaded = shelf.load(alias, version.version)
    assert loaded.info.run_id == version.run_id
    assert loaded.info.n_features == n_features
    assert loaded.info.trained_until == result.trained_until
    assert loaded.info.tags["simulated"] == "true"
    assert loaded.info.tags["sha256.matches.parquet"] == "abc"
    assert loaded.info.metrics["log_loss"] == result.scores.metrics(alias)["log_loss"]


def test_batch_and_loaded_champion_agree(trained):
    """The probabilities of the table are those of the registered model, for the matches it is answerable for."""
    from worker.pipeline.training.segments import predict_all  # noqa: PLC0415
    from worker.registry import ModelRegistry as Shelf  # noqa: PLC0415

    settings, result, matches, features = trained
    table = predict_all(matches, features, result, SilentProgress())
    mine = np.asarray(table["model_stage"].to_pylist()) == "champion"
    batch = np.stack([table[f"proba_{side}"].to_numpy()[mine] for side in ("home", "draw", "away")], axis=1)
    loaded = Shelf(settings).load("champion", result.champion.version)
    rows = Dataset.read(matches, features).features[mine]
    assert np.abs(loaded.predictor.probabilities(rows) - batch).max() < 1e-6


def test_every_match_is_predicted_and_only_the_oldest_in_sample(trained):
    """Each row names its model; a match in its own model's training says so."""
    from worker.pipeline.training.segments import predict_all  # noqa: PLC0415

    _, result, matches, features = trained
    table = predict_all(matches, features, result, SilentProgress())
    total = sum(table[f"proba_{side}"].to_numpy() for side in ("home", "draw", "away"))
    np.testing.assert_allclose(total, 1.0, atol=1e-9)
    in_sample = np.asarray(table["in_sample"])
    cut = int(in_sample.sum())
    assert 0 < cut < len(in_sample)
    assert in_sample[:cut].all()
    assert set(table["model_version"].to_pylist()) == {block.version for block in result.walk} | {"1"}


def test_signature_names_the_columns_in_order(trained):
    """508 floats: what the service sends is checked against this."""
    import mlflow  # noqa: PLC0415

    settings, result, _, _ = trained
    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    info = mlflow.models.get_model_info(f"models:/{settings.model_name}/{result.champion.version}")
    assert tuple(info.signature.inputs.input_names()) == feature_names()
    assert info.saved_input_example_info is not None
