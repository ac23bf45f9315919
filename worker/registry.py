"""The model registry: which version an alias names, and how it is loaded. The worker's only door to MLflow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import mlflow
import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
import orjson
import xgboost as xgb
from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from app.queue.jobs import ModelInfo
from app.settings import Settings
from worker.class_order import CLASS_ORDER
from worker.inference import N_CLASSES, OBJECTIVE
from worker.predictors import (
    BoosterPredictor,
    LoadedModel,
    ModelRefused,
    OrderedPredictor,
    Predictor,
    TablePredictor,
)
from worker.verification import Candidate, GoldenRows, Verification, read_golden_rows, verify

REGISTRY_ERRORS = (MlflowException, OSError)  # the registry or the store of its files does not answer
GOLDEN = "golden.json"
MISSING = "missing"  # the run's parameter or tag: MLflow does not store this argument of XGBClassifier
DTYPES = {"float": "float32", "double": "float64", "integer": "int32", "long": "int64"}
FLAVORS = ("xgboost", "lightgbm", "catboost", "sklearn")  # whose own object is asked, not MLflow's wrapper
# what the registry says when an alias, a model or a run is not there: a fact, not a failure
ABSENT = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}
# what may pass: a store that is away, a full disk
PASSING = (OSError, MemoryError)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """A version of the model as the registry lists it."""

    version: str
    aliases: tuple[str, ...]
    registered_at: datetime
    run_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A version of a model with all that speaks against it; `model` may serve when there are no problems."""

    model: LoadedModel | None
    verification: Verification
    flavor: str = ""

    @property
    def problems(self) -> list[str]:
        """What speaks against the version, in the order it showed."""
        return self.verification.problems


class ModelRegistry:
    """MLflow's model registry. Its calls block: not for the event loop."""

    def __init__(self, settings: Settings) -> None:
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
        mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
        self._name = settings.model_name
        self._client = MlflowClient(settings.mlflow_tracking_uri)

    def version_of(self, alias: str) -> str | None:
        """Return the version that an alias names now; None when there is no such alias or model."""
        try:
            return str(self._client.get_model_version_by_alias(self._name, alias).version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise

    def move_alias(self, alias: str, version: str, *, expected: str | None) -> None:
        """Let an alias name another version.

        Raises:
            ModelRefused: no worker would serve the version, or the alias does not name `expected` any more.
        """
        current = self.version_of(alias)
        if current == version:
            return
        if current != expected:
            raise ModelRefused(f"{alias} names version {current} now, not {expected}: look again before you decide")
        self.require_version(version)
        problems = self.inspect(alias, version).problems
        if problems:
            raise ModelRefused(f"workers would not serve version {version}: {'; '.join(problems)}")
        self._client.set_registered_model_alias(self._name, alias, version)

    def require_version(self, version: str) -> None:
        """Raise ModelRefused unless the registry has this version."""
        try:
            self._client.get_model_version(self._name, version)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            raise ModelRefused(f"the registry has no version {version} of {self._name}") from error

    def list_versions(self) -> list[RegisteredVersion]:
        """Return all versions, newest first."""
        aliases: dict[str, list[str]] = {}
        found = self._client.search_model_versions(f"name = '{self._name}'")
        if found:
            for alias, version in self._client.get_registered_model(self._name).aliases.items():
                aliases.setdefault(str(version), []).append(alias)
        newest_first = sorted(found, key=lambda each: -int(each.version))
        return [
            RegisteredVersion(
                version=str(each.version),
                aliases=tuple(sorted(aliases.get(str(each.version), ()))),
                registered_at=datetime.fromtimestamp(each.creation_timestamp / 1000, UTC),
                run_id=each.run_id,
                tags={**(run := self._read_run(each.run_id, [])).tags, **each.tags},
                metrics=run.metrics,
            )
            for each in newest_first
        ]

    def load(self, alias: str, version: str) -> LoadedModel:
        """Load, warm up and verify a version; ModelRefused when it must not serve."""
        inspection = self.inspect(alias, version)
        if inspection.model is None or inspection.problems:
            raise ModelRefused("; ".join(inspection.problems))
        return inspection.model

    def inspect(self, alias: str, version: str) -> Inspection:
        """Load a version and look at everything; an error of it means that the registry or its store is away."""
        verification = Verification()
        problems = verification.problems
        registered = self._client.get_model_version(self._name, version)
        run = self._read_run(registered.run_id, problems)
        trained_until = _try(problems, lambda: _read_time(run.tags.get("trained_until")))
        stored = self._fetch(version, problems)
        if stored is None:
            return Inspection(None, verification)
        predictor = self._verify(stored, registered, run, verification)
        if predictor is None or problems:
            return Inspection(None, verification, stored.flavor)
        info = ModelInfo(
            alias=alias,
            name=self._name,
            version=version,
            run_id=registered.run_id,
            flavor=stored.flavor,
            registered_at=datetime.fromtimestamp(registered.creation_timestamp / 1000, UTC),
            loaded_at=datetime.now(UTC),
            n_features=len(stored.dtypes),
            trained_until=trained_until,
            metrics=run.metrics,
            tags={name: value for name, value in run.tags.items() if not name.startswith("mlflow.")},
        )
        return Inspection(LoadedModel(info, tuple(stored.dtypes), predictor), verification, stored.flavor)

    def _fetch(self, version: str, problems: list[str]) -> "_StoredModel | None":
        try:
            files = mlflow.artifacts.download_artifacts(f"models:/{self._name}/{version}")
        except Exception as error:
            if not problems:
                raise
            problems.append(f"its files cannot be fetched: {type(error).__name__}: {error}")
            return None
        return _try(problems, lambda: _StoredModel(Path(files)))

    def _verify(
        self, stored: "_StoredModel", registered: Any, run: "_Run", verification: Verification
    ) -> Predictor | None:
        """Return what answers in the order home, draw, away; None when that cannot be had."""
        problems = verification.problems
        dtypes = _try(problems, lambda: stored.dtypes)
        if dtypes is None:
            return None
        golden = _try(problems, lambda: self._read_golden(registered.run_id, tuple(dtypes))) if run.exists else None
        facts = {**run.params, **run.tags, **registered.tags}
        verification.n_golden_rows = 0 if golden is None else len(golden.rows)
        candidate = _try(problems, lambda: _make_candidate(stored, dtypes, facts))
        if candidate is None:
            return None
        if golden is not None and isinstance(candidate.predictor, BoosterPredictor):
            candidate.predictor.check_walk(golden.rows)
        verify(candidate, golden, verification)
        order = verification.order
        if order is None:
            return None
        is_ordered = order.columns == (0, 1, 2)
        return candidate.predictor if is_ordered else OrderedPredictor(candidate.predictor, order)

    def _read_run(self, run_id: str | None, problems: list[str]) -> "_Run":
        if not run_id:
            problems.append("the version was registered without a run: log the model within mlflow.start_run()")
            return _Run()
        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            problems.append(f"the run {run_id} of the version is not in the tracking store")
            return _Run()
        metrics = {name: float(value) for name, value in run.data.metrics.items() if np.isfinite(value)}
        return _Run(dict(run.data.params), dict(run.data.tags), metrics, exists=True)

    def _read_golden(self, run_id: str, names: tuple[str, ...]) -> GoldenRows | None:
        if GOLDEN not in {artifact.path for artifact in self._client.list_artifacts(run_id)}:
            return None
        with TemporaryDirectory(prefix="touchline-golden-") as folder:
            path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=GOLDEN, dst_path=folder)
            return read_golden_rows(Path(path).read_bytes(), names)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the run of a version says."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    exists: bool = False


class _StoredModel:
    """The files of a version."""

    def __init__(self, files: Path) -> None:
        self._files = files
        try:
            self.description = Model.load(str(files))
        except PASSING:
            raise
        except Exception as error:
            raise ModelRefused(f"its MLmodel file cannot be read: {type(error).__name__}: {error}") from error
        self.flavor = next((flavor for flavor in FLAVORS if flavor in self.description.flavors), "pyfunc")

    @cached_property
    def pyfunc(self) -> Any:
        """MLflow's own way to ask it."""
        return mlflow.pyfunc.load_model(str(self._files))

    @cached_property
    def native(self) -> Any:
        """The object of the model's own library; None for a Python function."""
        return None if self.flavor == "pyfunc" else self.pyfunc.get_raw_model()

    @property
    def dtypes(self) -> dict[str, str]:
        """The columns of the signature, in order, with their numpy types."""
        signature = self.description.signature
        if signature is None or signature.inputs is None or not signature.inputs.has_input_names():
            raise ModelRefused("the model has no signature with named columns")
        kinds = {column.name: getattr(column.type, "name", "") for column in signature.inputs.inputs}
        for name, kind in kinds.items():
            if kind not in DTYPES:
                raise ModelRefused(f"column {name!r} of the signature is no number")
        return {name: DTYPES[kind] for name, kind in kinds.items()}

    @property
    def output_names(self) -> list[str] | None:
        """The names of the signature's outputs, where it names them."""
        signature = self.description.signature
        outputs = None if signature is None else signature.outputs
        return outputs.input_names() if outputs is not None and outputs.has_input_names() else None


def _make_candidate(stored: _StoredModel, dtypes: Mapping[str, str], facts: Mapping[str, str]) -> Candidate:
    try:
        native = stored.native
        reference = stored.pyfunc.predict
    except PASSING:
        raise
    except Exception as error:
        raise ModelRefused(f"MLflow cannot load it here: {type(error).__name__}: {error}") from error
    metadata = stored.description.metadata or {}
    tag = facts.get(CLASS_ORDER, metadata.get(CLASS_ORDER))
    missing = _read_missing(native, facts)
    return Candidate(
        predictor=_make_predictor(native, reference, dtypes, missing),
        dtypes=dtypes,
        reference=reference,
        classifier=native if hasattr(native, "predict_proba") else None,
        classes=_read_classes(native),
        output_names=stored.output_names,
        tag=orjson.dumps(tag).decode() if isinstance(tag, list) else tag,
        missing=missing,
    )


def _make_predictor(
    native: Any, reference: Callable[[Any], Any], dtypes: Mapping[str, str], missing: float
) -> Predictor:
    if isinstance(native, xgb.Booster):
        _check_booster(native, tuple(dtypes))
        return BoosterPredictor(native)
    if isinstance(native, xgb.XGBClassifier):
        booster = native.get_booster()
        _check_booster(booster, tuple(dtypes))
        return BoosterPredictor(booster, rounds=_count_rounds(native), missing=missing)
    # rows are numbers with nulls, whatever the signature says of whole numbers
    floats = {name: dtype if dtype.startswith("float") else "float64" for name, dtype in dtypes.items()}
    return TablePredictor(getattr(native, "predict_proba", getattr(native, "predict", reference)), floats)


def _check_booster(booster: xgb.Booster, names: tuple[str, ...]) -> None:
    if booster.num_features() != len(names):
        raise ModelRefused(f"the booster takes {booster.num_features()} features, the signature {len(names)}")
    if booster.feature_names is not None and tuple(booster.feature_names) != names:
        raise ModelRefused("the signature's columns are not the booster's own, in its order")
    learner = orjson.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]
    if objective != OBJECTIVE:
        raise ModelRefused(f"the booster's objective is {objective}, which gives no probabilities; want {OBJECTIVE}")
    n_classes = int(learner["learner_model_param"]["num_class"])
    if n_classes != N_CLASSES:
        raise ModelRefused(f"the booster's output has {n_classes} classes, not {N_CLASSES}")


def _count_rounds(model: xgb.XGBClassifier) -> int:
    """Return the boosting rounds that early stopping keeps; 0 for all."""
    try:
        return int(model.best_iteration) + 1
    except AttributeError:  # trained without early stopping
        return 0


def _read_missing(native: Any, facts: Mapping[str, str]) -> float:
    """Return the value that a classifier takes for missing beside NaN, which MLflow's xgboost flavor forgets."""
    if not isinstance(native, xgb.XGBClassifier):
        return np.nan
    own = float(native.missing) if native.missing is not None else np.nan
    text = facts.get(MISSING)
    if not np.isnan(own) or text is None or text == "None":
        return own
    try:
        return float(text)
    except ValueError as error:
        raise ModelRefused(f"the parameter {MISSING}={text!r} of the run is no number") from error


def _read_classes(native: Any) -> list[Any] | None:
    try:
        classes = native.classes_
    except Exception:  # noqa: BLE001  # a property that raises tells nothing
        return None
    return None if classes is None or isinstance(classes, str) else list(classes)


def _try(problems: list[str], step: Callable[[], T]) -> T | None:
    """Return what a step gives; None when it refuses, with its reason among the problems."""
    try:
        return step()
    except ModelRefused as error:
        problems.append(str(error))
        return None


def _read_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ModelRefused(f"the tag trained_until={text!r} is no date; write it as 2026-07-01T00:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
