"""The pipeline's side of the model registry: logs a run, registers its model, and later moves the alias."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import mlflow.xgboost
import numpy as np
import orjson
import pandas as pd
import xgboost as xgb
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    MLFLOW_TRACKING_URI,
)
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from worker.inference import Rows, predict_proba
from worker.pipeline.training.fitting import Fit

_EXPERIMENT = "touchline"
GOLDEN = "golden.json"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered version, the run that made it, and the alias it is meant for."""

    name: str
    version: str
    alias: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model was made from."""

    data_source: str
    simulated: bool
    checksums: Mapping[str, str]
    seed: int | None = None

    def tags(self) -> dict[str, str]:
        """As tags of the run and of the version."""
        found = {"data_source": self.data_source, "simulated": str(self.simulated).lower()}
        if self.seed is not None:
            found["seed"] = str(self.seed)
        return found | {f"sha256.{name}": digest for name, digest in self.checksums.items()}


class TrainingRegistry:
    """An MLflow store: an SQLite file, or a server."""

    def __init__(self, tracking_uri: str, model_name: str, artifact_root: Path) -> None:
        self._uri = tracking_uri
        self._name = model_name
        self._artifact_root = artifact_root
        if tracking_uri.startswith("sqlite:///"):
            Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)

    def register(  # noqa: PLR0913, PLR0917 - all that a run holds
        self,
        model: Fit,
        alias: str,
        metrics: Mapping[str, float],
        provenance: Provenance,
        golden: Rows,
        boosters: Mapping[str, xgb.Booster],
    ) -> ModelVersion:
        """Log the model with all that describes it and register it; workers serve it only once it is promoted."""
        with _quiet(), self._selected():
            experiment = self._experiment()
            with mlflow.start_run(experiment_id=experiment, run_name=alias) as run:
                mlflow.set_tags(_tags(model, provenance))
                mlflow.log_params(_params(model))
                mlflow.log_metrics({name: value for name, value in metrics.items() if np.isfinite(value)})
                self._log_artifacts(model, golden, boosters)
                uri = _log_model(model, golden)
            return self._name_version(uri, run.info.run_id, alias, _tags(model, provenance))

    def promote(self, *versions: ModelVersion) -> None:
        """Let each version's alias name it: from now on workers serve it."""
        with _quiet(), self._selected():
            client = MlflowClient(self._uri)
            for version in versions:
                client.set_registered_model_alias(version.name, version.alias, version.version)

    @contextmanager
    def _selected(self) -> Iterator[None]:
        """MLflow's current store is global: put it back afterwards."""
        # the registry follows the tracking store only as long as it was never set by itself
        before, named = mlflow.get_tracking_uri(), MLFLOW_TRACKING_URI.get_raw()
        mlflow.set_tracking_uri(self._uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)
            # MLflow writes the store into the environment too, where our own settings would find another than was set
            if named is None:
                MLFLOW_TRACKING_URI.unset()
            else:
                MLFLOW_TRACKING_URI.set(named)

    def _experiment(self) -> str:
        client = MlflowClient(self._uri)
        found = client.get_experiment_by_name(_EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        if self._uri.startswith(("http://", "https://")):
            return str(client.create_experiment(_EXPERIMENT))
        # a store without a server writes into ./mlruns of the working directory unless told where
        self._artifact_root.mkdir(parents=True, exist_ok=True)
        return str(client.create_experiment(_EXPERIMENT, self._artifact_root.resolve().as_uri()))

    def _log_artifacts(self, model: Fit, golden: Rows, boosters: Mapping[str, xgb.Booster]) -> None:
        with TemporaryDirectory(prefix="touchline-run-") as name:
            folder = Path(name)
            (folder / GOLDEN).write_bytes(golden_document(model, golden))
            for version, booster in boosters.items():
                (folder / "walk_forward").mkdir(exist_ok=True)
                booster.save_model(folder / "walk_forward" / f"{version}.ubj")
            mlflow.log_artifacts(str(folder))

    def _name_version(self, uri: str, run_id: str, alias: str, tags: Mapping[str, str]) -> ModelVersion:
        client = MlflowClient(self._uri)
        if not client.search_registered_models(f"name = '{self._name}'"):
            client.create_registered_model(self._name)
        # a server refuses a model's uri without the model's id beside it
        model_id = uri.removeprefix("models:/")
        made = client.create_model_version(self._name, uri, run_id=run_id, tags=dict(tags), model_id=model_id)
        return ModelVersion(self._name, str(made.version), alias, run_id)


def golden_document(model: Fit, rows: Rows) -> bytes:
    """Rows and the probabilities a worker must find for them; NaN is null."""
    document = {
        "feature_names": list(model.recipe.columns),
        "features": [[None if np.isnan(value) else float(value) for value in row] for row in rows],
        "probabilities": predict_proba(model.booster, rows).tolist(),
    }
    return orjson.dumps(document)


def _tags(model: Fit, provenance: Provenance) -> dict[str, str]:
    return provenance.tags() | {"trained_until": model.trained_until.isoformat()}


def _params(model: Fit) -> dict[str, object]:
    found = model.calibration
    calibrated = {"temperature": found.temperature, "bias": str([round(value, 6) for value in found.bias])}
    return model.parameters | calibrated | {"n_features": len(model.recipe.columns)}


def _log_model(model: Fit, golden: Rows) -> str:
    """The native booster with its signature; requirements are named, since guessing them starts processes."""
    columns = list(model.recipe.columns)
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.float, name, required=False) for name in columns]),
        outputs=Schema([ColSpec(DataType.float, name) for name in ("proba_home", "proba_draw", "proba_away")]),
    )
    logged = mlflow.xgboost.log_model(
        model.booster,
        name="model",
        signature=signature,
        input_example=pd.DataFrame(golden[:2], columns=columns),
        model_format="ubj",
        pip_requirements=[f"xgboost-cpu=={xgb.__version__}", "numpy", "pandas"],
        metadata={"trained_until": model.trained_until.isoformat(), "calibrated": True},
    )
    return str(logged.model_uri)


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow talks a lot about itself; its errors still raise."""
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
    logger = logging.getLogger("mlflow")
    alembic = logging.getLogger("alembic")
    before = logger.level, alembic.level
    logger.setLevel(logging.ERROR)
    alembic.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before[0])
        alembic.setLevel(before[1])
