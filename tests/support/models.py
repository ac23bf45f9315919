"""Tiny real models in a real MLflow registry; MLflow is imported late, for most tests need it not at all."""
# ruff: noqa: PLC0415

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xgboost as xgb

from worker.inference import Rows, predict_proba

NAME = "tiny-match-outcome"
FEATURES = ("elo_home", "elo_away", "elo_diff", "form_home", "form_away", "rest_days_diff")


def tiny_booster(names: tuple[str, ...] = FEATURES, *, seed: int = 1, rounds: int = 4) -> xgb.Booster:
    """A booster trained on random matches."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(300, len(names))).astype(np.float32)
    outcomes = (rows[:, 0] - rows[:, 1] + random.normal(size=300) > 0).astype(int) + random.integers(0, 2, 300)
    matrix = xgb.DMatrix(rows, outcomes, feature_names=list(names))
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "seed": seed, "nthread": 1}
    return xgb.train(params, matrix, rounds)


def tiny_rows(n: int = 5, *, width: int = len(FEATURES), seed: int = 7) -> Rows:
    """Feature rows, some of whose values are missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, width)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    return rows


def signature_of(names: tuple[str, ...], kind: str = "float") -> Any:
    """A signature of named columns."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(inputs=Schema([ColSpec(kind, name) for name in names]), outputs=Schema([ColSpec("double")]))


@dataclass(frozen=True)
class TinyRegistry:
    """A registry in a folder."""

    home: Path

    @property
    def uri(self) -> str:
        """For MLFLOW_TRACKING_URI."""
        return f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def client(self) -> Any:
        """MLflow's own client."""
        from mlflow.tracking import MlflowClient

        return MlflowClient(self.uri)

    def prepare(self) -> "TinyRegistry":
        """Make the database."""
        self.client.create_experiment("tiny", artifact_location=(self.home / "artifacts").as_uri())
        return self

    def add_booster(
        self,
        booster: xgb.Booster,
        *,
        names: tuple[str, ...] = FEATURES,
        alias: str | None = None,
        golden: Any = None,
        signature: Any = None,
        **run: Any,
    ) -> str:
        """Register a booster with golden rows; its version. `run` is what `log_run` takes."""
        if golden is None:
            rows = tiny_rows(4, width=len(names))
            golden = golden_document(rows, predict_proba(booster, rows))

        def log() -> None:
            import mlflow.xgboost

            mlflow.xgboost.log_model(
                booster,
                name="model",
                model_format="ubj",
                signature=signature or signature_of(names),
                registered_model_name=NAME,
                pip_requirements=["xgboost-cpu"],
            )

        return self.log_run(log, alias=alias, golden=golden, **run)

    def add_sklearn(
        self,
        model: Any,
        *,
        names: tuple[str, ...] = FEATURES,
        alias: str | None = None,
        kind: str = "double",
        **run: Any,
    ) -> str:
        """Register a scikit-learn model; its version. `run` is what `log_run` takes."""

        def log() -> None:
            import mlflow.sklearn

            mlflow.sklearn.log_model(
                model,
                name="model",
                signature=signature_of(names, kind),
                registered_model_name=NAME,
                pip_requirements=["scikit-learn"],
                serialization_format="cloudpickle",
            )

        return self.log_run(log, alias=alias, **run)

    def add_pyfunc(self, model: Any, *, kind: str = "double", signature: Any = None, **run: Any) -> str:
        """Register any Python object that predicts; its version. `run` is what `log_run` takes."""

        def log() -> None:
            import mlflow.pyfunc

            mlflow.pyfunc.log_model(
                name="model",
                python_model=model,
                signature=signature or signature_of(FEATURES, kind),
                registered_model_name=NAME,
                pip_requirements=["pandas"],
            )

        return self.log_run(log, **run)

    def add_flavor(self, flavor: str, model: Any, *, kind: str = "float", **run: Any) -> str:
        """Register a model by the named module of MLflow; its version. `run` is what `log_run` takes."""

        def log() -> None:
            import_module(f"mlflow.{flavor}").log_model(
                model,
                name="model",
                signature=signature_of(FEATURES, kind),
                registered_model_name=NAME,
                pip_requirements=[flavor],
            )

        return self.log_run(log, **run)

    def point(self, alias: str, version: str) -> None:
        """Move an alias."""
        self.client.set_registered_model_alias(NAME, alias, version)

    def log_run(
        self,
        log: Callable[[], None],
        *,
        alias: str | None = None,
        golden: Any = None,
        tags: Mapping[str, str] = MappingProxyType({}),
        params: Mapping[str, Any] = MappingProxyType({}),
        trained_until: str = "2024-07-01T00:00:00+00:00",
    ) -> str:
        """Log a run with what `log` registers in it; the version. `golden` is a document, or text that is none."""
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        experiment = self.client.get_experiment_by_name("tiny")
        with mlflow.start_run(experiment_id=experiment.experiment_id) as run:
            mlflow.log_metric("log_loss", 1.01)
            mlflow.log_params(dict(params))
            mlflow.set_tags({"trained_until": trained_until, **tags})
            if golden is not None:
                mlflow.log_text(golden if isinstance(golden, str) else json.dumps(golden), "golden.json")
            log()
        versions = self.client.search_model_versions(f"name = '{NAME}'")
        version = str(next(each.version for each in versions if each.run_id == run.info.run_id))
        if alias is not None:
            self.point(alias, version)
        return version


def golden_document(rows: Rows, probabilities: Any) -> dict[str, Any]:
    """golden.json of rows and the home, draw, away that a model gives for them."""
    return {"features": none_for_nan(rows), "probabilities": np.asarray(probabilities, dtype=float).tolist()}


def none_for_nan(rows: Rows) -> list[list[float | None]]:
    """JSON knows no NaN."""
    return [[None if np.isnan(value) else float(value) for value in row] for row in rows]
