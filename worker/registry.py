"""The model registry: which version an alias names, and how it is loaded. The worker's only door to MLflow."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import mlflow.artifacts
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import orjson
import xgboost as xgb
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException
from mlflow.models import get_model_info
from mlflow.tracking import MlflowClient

from app.queue.jobs import ModelInfo
from app.settings import Settings
from worker.inference import Rows
from worker.predictors import BoosterPredictor, LoadedModel, ModelRefused, Predictor, TablePredictor

GOLDEN = "golden.json"
GOLDEN_TOLERANCE = 1e-6
NUMBERS = {"float", "double", "integer", "long"}
# what the registry says when an alias or the model is not there: a fact, not a failure
ABSENT = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


class ModelRegistry:
    """MLflow's model registry. Its calls block: not for the event loop."""

    def __init__(self, settings: Settings) -> None:
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
        mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
        self._name = settings.model_name
        self._client = MlflowClient(settings.mlflow_tracking_uri)

    def version_of(self, alias: str) -> str | None:
        """The version that an alias names now; None when there is no such alias or model."""
        try:
            return str(self._client.get_model_version_by_alias(self._name, alias).version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise

    def load(self, alias: str, version: str) -> LoadedModel:
        """Load, warm up and verify a version; ModelRefused when it must not serve."""
        registered = self._client.get_model_version(self._name, version)
        uri = f"models:/{self._name}/{version}"
        described = get_model_info(uri)
        flavor, native = _native(uri, set(described.flavors))
        names = _column_names(described.signature, native)
        predictor = _predictor(native, names)
        run = self._client.get_run(registered.run_id)
        info = ModelInfo(
            alias=alias,
            name=self._name,
            version=version,
            run_id=registered.run_id,
            flavor=flavor,
            registered_at=datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC),
            loaded_at=datetime.now(UTC),
            n_features=len(names),
            trained_until=_time_tag(run.data.tags.get("trained_until")),
            metrics={name: float(value) for name, value in run.data.metrics.items()},
            tags={name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")},
        )
        model = LoadedModel(info, names, predictor)
        _warm_up(model)
        self._verify(model)
        return model

    def _verify(self, model: LoadedModel) -> None:
        golden = self._golden(model.info.run_id)
        if golden is None:
            return
        if golden.get("feature_names", list(model.names)) != list(model.names):
            raise ModelRefused("the golden rows have other columns than the signature, or another order")
        rows: Rows = np.array(golden["features"], dtype=np.float32)
        expected = np.array(golden["probabilities"], dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(model.names):
            raise ModelRefused(f"golden rows have shape {rows.shape}, the signature {len(model.names)} columns")
        difference = float(np.abs(model.predictor.probabilities(rows) - expected).max())
        if not difference <= GOLDEN_TOLERANCE:
            raise ModelRefused(f"answers differ from the golden rows by {difference:.2g}")

    def _golden(self, run_id: str) -> dict[str, Any] | None:
        if GOLDEN not in {artifact.path for artifact in self._client.list_artifacts(run_id)}:
            return None
        with TemporaryDirectory(prefix="touchline-golden-") as folder:
            path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=GOLDEN, dst_path=folder)
            golden: dict[str, Any] = orjson.loads(Path(path).read_bytes())
            return golden


def _native(uri: str, flavors: set[str]) -> tuple[str, Any]:
    """The model as its own library's object, by the fastest way there is."""
    if "xgboost" in flavors:
        native = mlflow.xgboost.load_model(uri)
        # the scikit-learn wrapper holds the same booster
        return "xgboost", native if isinstance(native, xgb.Booster) else native.get_booster()
    if "sklearn" in flavors:
        return "sklearn", mlflow.sklearn.load_model(uri)
    return "pyfunc", mlflow.pyfunc.load_model(uri)


def _column_names(signature: Any, native: Any) -> tuple[str, ...]:
    if signature is None or signature.inputs is None or not signature.inputs.has_input_names():
        raise ModelRefused("the model has no signature with named columns")
    for column in signature.inputs.inputs:
        if getattr(column.type, "name", "") not in NUMBERS:
            raise ModelRefused(f"column {column.name!r} of the signature is no number")
    names = tuple(signature.inputs.input_names())
    own = getattr(native, "feature_names", None)
    if isinstance(native, xgb.Booster) and own is not None and tuple(own) != names:
        raise ModelRefused("the signature's columns are not the booster's own, in its order")
    return names


def _predictor(native: Any, names: tuple[str, ...]) -> Predictor:
    if isinstance(native, xgb.Booster):
        if native.num_features() != len(names):
            raise ModelRefused(f"the booster takes {native.num_features()} features, the signature {len(names)}")
        return BoosterPredictor(native)
    return TablePredictor(getattr(native, "predict_proba", native.predict), names)


def _warm_up(model: LoadedModel) -> None:
    """One answer before the first question; also shows whether the output has three classes."""
    rows = np.full((2, len(model.names)), 0.5, dtype=np.float32)
    try:
        answer = model.predictor.probabilities(rows)
    except Exception as error:
        # the rows are plain: it would fail at every question, however often it is loaded
        raise ModelRefused(f"the model fails: {type(error).__name__}: {error}") from error
    if answer.shape != (2, 3) or not np.isfinite(answer).all():
        raise ModelRefused(f"the model's output has shape {answer.shape}, not one of three classes")


def _time_tag(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
