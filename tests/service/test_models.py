"""Models come out of a real MLflow registry, or are refused with a reason."""

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from app.errors import ExplanationUnavailable
from app.queue.client import QueueClient
from app.settings import Settings
from tests.support.live import CANDIDATE_FEATURES, a_job, serving
from tests.support.models import FEATURES, NAME, TinyRegistry, golden_document, signature_of, tiny_booster, tiny_rows
from tests.support.serving import until
from worker.inference import Rows, contributions, predict_proba
from worker.predictors import WALK_ROWS, LoadedModel, ModelRefused

pytestmark = pytest.mark.timeout(600)  # the first test imports MLflow and makes the registry


Load = Callable[[str], LoadedModel]


@pytest.fixture
def load(registry_settings: Settings) -> Load:
    """Load a version as champion."""
    from worker.registry import ModelRegistry  # noqa: PLC0415  # MLflow is slow to import

    source = ModelRegistry(registry_settings)
    return lambda version: source.load("champion", version)


def test_champion_is_the_logged_booster(registry: TinyRegistry, load: Load) -> None:
    model = load("1")
    rows = tiny_rows(6)
    assert model.names == FEATURES
    assert model.predictor.probabilities(rows) == pytest.approx(predict_proba(tiny_booster(), rows), abs=1e-9)
    assert model.predictor.quick_rows == WALK_ROWS
    assert (model.info.flavor, model.info.metrics, model.info.n_features) == ("xgboost", {"log_loss": 1.01}, 6)
    assert model.info.trained_until is not None


def test_golden_rows_that_differ_refuse_a_version(registry: TinyRegistry, load: Load) -> None:
    golden = {"features": [[0.0] * len(FEATURES)], "probabilities": [[0.2, 0.3, 0.5]]}
    version = registry.add_booster(tiny_booster(), golden=golden)
    with pytest.raises(ModelRefused, match="golden rows"):
        load(version)


def test_golden_rows_of_other_columns_refuse_a_version(registry: TinyRegistry, load: Load) -> None:
    golden = {"feature_names": FEATURES[::-1], "features": [[0.0] * 6], "probabilities": [[0.2, 0.3, 0.5]]}
    version = registry.add_booster(tiny_booster(), golden=golden)
    with pytest.raises(ModelRefused, match="other columns"):
        load(version)


@pytest.mark.parametrize(
    ("names", "kind", "reason"),
    [
        (FEATURES[::-1], "float", "order"),
        (FEATURES[1:], "float", "columns"),
        (FEATURES, "string", "no number"),
    ],
)
def test_signature_that_does_not_fit_refuses_a_version(
    registry: TinyRegistry, load: Load, names: tuple[str, ...], kind: str, reason: str
) -> None:
    version = registry.add_booster(tiny_booster(), signature=signature_of(names, kind))
    with pytest.raises(ModelRefused, match=reason):
        load(version)


def outcomes(table: pd.DataFrame, labels: Sequence[Any]) -> Any:
    """Labels of home, draw, away that follow the first column."""
    place = np.digitize(table[FEATURES[0]].to_numpy(), [-0.5, 0.5])
    return np.array([labels[2 - each] for each in place], dtype=object if isinstance(labels[0], Enum) else None)


def table_of(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame(rows.astype(np.float64), columns=list(FEATURES))


TABLE = table_of(np.random.default_rng(3).normal(size=(120, len(FEATURES))).astype(np.float32))
HOME_ROW = np.full((1, len(FEATURES)), 2.0, dtype=np.float32)


def regression() -> Any:
    """Takes nulls."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), LogisticRegression())


def trees() -> Any:
    return HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5)


def calibrated() -> Any:
    return CalibratedClassifierCV(trees(), cv=2)


def searched() -> Any:
    return GridSearchCV(regression(), {"logisticregression__C": [0.1]}, cv=2)


@pytest.mark.parametrize("make", [regression, trees, calibrated, searched])
def test_scikit_learn_models_answer_in_the_order_of_outcomes(
    registry: TinyRegistry, load: Load, make: Callable[[], Any]
) -> None:
    """Their own order is that of the alphabet: away, draw, home."""
    fitted = make().fit(TABLE, outcomes(TABLE, ["home", "draw", "away"]))
    model = load(registry.add_sklearn(fitted))
    assert model.info.flavor == "sklearn"
    expected = fitted.predict_proba(TABLE)[:, [2, 1, 0]]
    assert model.predictor.probabilities(TABLE.to_numpy(np.float32)) == pytest.approx(expected, abs=1e-6)
    assert model.predictor.probabilities(HOME_ROW)[0].argmax() == 0
    with pytest.raises(ExplanationUnavailable):
        model.explain(HOME_ROW)


@pytest.mark.parametrize(
    "labels",
    [
        ["H", "D", "A"],
        ["1", "X", "2"],
        [1, 0, -1],
    ],
    ids=str,
)
def test_labels_of_a_classifier_are_read(registry: TinyRegistry, load: Load, labels: Sequence[Any]) -> None:
    model = load(registry.add_sklearn(regression().fit(TABLE, outcomes(TABLE, labels))))
    assert model.predictor.probabilities(HOME_ROW)[0].argmax() == 0
    assert model.predictor.probabilities(-HOME_ROW)[0].argmax() == 2


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 1, 0], [3, 1, 0], ["W", "D", "L"], ["x", "y", "z"]], ids=str)
def test_labels_that_say_nothing_are_refused_until_a_tag_or_golden_rows_tell(
    registry: TinyRegistry, load: Load, labels: Sequence[Any]
) -> None:
    fitted = regression().fit(TABLE, outcomes(TABLE, labels))
    with pytest.raises(ModelRefused, match="nothing says which column is home, draw and away"):
        load(registry.add_sklearn(fitted))
    columns = [list(fitted.classes_).index(label) for label in labels]
    named = [("home", "draw", "away")[columns.index(place)] for place in range(3)]
    rows = tiny_rows(4)
    golden = golden_document(rows, fitted.predict_proba(table_of(rows))[:, columns])
    for version in (
        registry.add_sklearn(fitted, tags={"class_order": ",".join(named)}),
        registry.add_sklearn(fitted, golden=golden),
    ):
        assert load(version).predictor.probabilities(HOME_ROW)[0].argmax() == 0


def test_tag_that_contradicts_the_labels_is_refused(registry: TinyRegistry, load: Load) -> None:
    fitted = regression().fit(TABLE, outcomes(TABLE, ["home", "draw", "away"]))
    with pytest.raises(ModelRefused, match="disagree about the order"):
        load(registry.add_sklearn(fitted, tags={"class_order": "home,draw,away"}))


def test_booster_without_golden_rows_needs_a_tag(registry: TinyRegistry, load: Load) -> None:
    booster = tiny_booster()
    with pytest.raises(ModelRefused, match="add golden rows, or the tag class_order"):
        load(registry.add_flavor("xgboost", booster))
    model = load(registry.add_flavor("xgboost", booster, tags={"class_order": "away,draw,home"}))
    expected = predict_proba(booster, tiny_rows(5))[:, ::-1]
    assert model.predictor.probabilities(tiny_rows(5)) == pytest.approx(expected, abs=1e-9)
    added = contributions(booster, tiny_rows(5))
    assert model.predictor.contributions(tiny_rows(5)) == pytest.approx(added[:, ::-1], abs=1e-9)


@pytest.mark.parametrize("missing", [np.nan, -999.0])
def test_state_of_an_xgboost_classifier_is_honoured(registry: TinyRegistry, load: Load, missing: float) -> None:
    """The rounds that early stopping chose, and the value that means missing, are not in the booster."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(300, len(FEATURES)))
    rows[random.random(rows.shape) < 0.2] = missing
    table, classes = table_of(rows), random.integers(0, 3, 300)
    fitted = xgb.XGBClassifier(n_estimators=40, early_stopping_rounds=2, missing=missing, learning_rate=0.9, n_jobs=1)
    fitted.fit(table[:200], classes[:200], eval_set=[(table[200:], classes[200:])], verbose=False)
    expected = fitted.predict_proba(table)
    assert np.abs(predict_proba(fitted.get_booster(), rows) - expected).max() > 0.05
    tags = {"class_order": "home,draw,away"}
    for version in (
        registry.add_flavor("xgboost", fitted, tags=tags, params={"missing": missing}),
        registry.add_sklearn(fitted, tags=tags),
    ):
        model = load(version)
        assert model.predictor.probabilities(rows.astype(np.float32)) == pytest.approx(expected, abs=1e-6)
        assert len(model.explain(rows[:1].astype(np.float32))[0]) > 0


@pytest.mark.parametrize(
    ("flavor", "make"),
    [("lightgbm", "LGBMClassifier"), ("lightgbm", "Booster"), ("catboost", "CatBoostClassifier")],
)
def test_other_boosters_answer(registry: TinyRegistry, load: Load, flavor: str, make: str) -> None:
    library = pytest.importorskip(flavor)
    labels = outcomes(TABLE, ["home", "draw", "away"])
    if make == "Booster":
        numbers = np.unique(labels, return_inverse=True)[1]
        params = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
        fitted = library.train(params, library.Dataset(TABLE, numbers), 5)
        predict, tags = fitted.predict, {"class_order": "away,draw,home"}
    else:
        options = {"verbose": -1, "n_jobs": 1} if flavor == "lightgbm" else {"verbose": 0, "allow_writing_files": False}
        fitted = getattr(library, make)(n_estimators=5, **options).fit(TABLE, labels)
        predict, tags = fitted.predict_proba, {}
    model = load(registry.add_flavor(flavor, fitted, tags=tags))
    assert model.info.flavor == flavor
    rows = tiny_rows(20)
    expected = predict(table_of(rows).astype(np.float32))[:, [2, 1, 0]]
    assert model.predictor.probabilities(rows) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("objective", "classes", "reason"),
    [
        ("multi:softprob", 4, "4 classes"),
        ("multi:softmax", 3, "multi:softmax, which gives no probabilities"),
        ("count:poisson", 0, "count:poisson, which gives no probabilities"),
        ("reg:squarederror", 0, "reg:squarederror"),
        ("binary:logistic", 0, "binary:logistic"),
    ],
)
def test_booster_without_three_probabilities_is_refused(
    registry: TinyRegistry, load: Load, objective: str, classes: int, reason: str
) -> None:
    params: dict[str, Any] = {"objective": objective, "max_depth": 2, "nthread": 1}
    if classes:
        params["num_class"] = classes
        target = np.arange(60) % classes
    elif objective == "binary:logistic":
        target = np.arange(60) % 2
    else:  # three columns, such as the rates of three counts
        target = np.tile([[1.0, 2.0, 3.0]], (60, 1))
    rows = np.random.default_rng(1).normal(size=(60, len(FEATURES)))
    booster = xgb.train(params, xgb.DMatrix(rows, target, feature_names=list(FEATURES)), 2)
    with pytest.raises(ModelRefused, match=reason):
        load(registry.add_flavor("xgboost", booster, tags={"class_order": "home,draw,away"}))


@pytest.mark.filterwarnings("ignore")  # MLflow's of its own
def test_python_function_answers(registry: TinyRegistry, load: Load) -> None:
    model = load(registry.add_pyfunc(constant([0.5, 0.3, 0.2]), tags={"class_order": "home,draw,away"}))
    assert model.info.flavor == "pyfunc"
    assert model.predictor.probabilities(tiny_rows(2)).tolist() == [pytest.approx([0.5, 0.3, 0.2])] * 2


@pytest.mark.filterwarnings("ignore")  # MLflow's of its own
def test_columns_of_a_python_function_are_read(registry: TinyRegistry, load: Load) -> None:
    model = load(registry.add_pyfunc(constant([0.2, 0.3, 0.5], columns=["proba_away", "proba_draw", "proba_home"])))
    assert model.predictor.probabilities(tiny_rows(2)).tolist() == [pytest.approx([0.5, 0.3, 0.2])] * 2


@pytest.mark.filterwarnings("ignore")  # MLflow's of its own
@pytest.mark.parametrize(
    ("answer", "options", "reason"),
    [
        ([0.5, 0.5], {}, "shape"),
        ([0.5, 0.5, 0.5], {}, "no probability distribution"),
        ([0.9, -0.4, 0.5], {}, "no probability distribution"),
        ([np.nan, 0.5, 0.5], {}, "no probability distribution"),
        ([0.5, 0.3, 0.2], {"fault": "nulls"}, "fails on rows with nulls; put an imputer before it"),
        ([0.5, 0.3, 0.2], {"fault": "squeeze"}, "fails on a single row"),
        ([0.5, 0.3, 0.2], {"fault": "batch"}, "alone otherwise than among others"),
        ([0.5, 0.3, 0.2], {"fault": "dice"}, "differ"),
        ([0.5, 0.3, 0.2], {"fault": "always"}, "the model fails"),
    ],
    ids=str,
)
def test_model_that_would_fail_at_a_question_is_refused(
    registry: TinyRegistry, load: Load, answer: list[float], options: dict[str, str], reason: str
) -> None:
    version = registry.add_pyfunc(constant(answer, **options), tags={"class_order": "home,draw,away"})
    with pytest.raises(ModelRefused, match=reason):
        load(version)


@pytest.mark.filterwarnings("ignore")  # MLflow's of its own
def test_python_function_of_whole_numbers_is_refused(registry: TinyRegistry, load: Load) -> None:
    with pytest.raises(ModelRefused, match="the model fails"):
        load(registry.add_pyfunc(constant([0.5, 0.3, 0.2]), kind="long", tags={"class_order": "home,draw,away"}))


def test_classifier_of_whole_numbers_answers(registry: TinyRegistry, load: Load) -> None:
    fitted = regression().fit(TABLE, outcomes(TABLE, ["home", "draw", "away"]))
    model = load(registry.add_sklearn(fitted, kind="long"))
    assert model.predictor.probabilities(HOME_ROW)[0].argmax() == 0


def test_classifier_that_takes_no_nulls_is_refused(registry: TinyRegistry, load: Load) -> None:
    fitted = LogisticRegression().fit(TABLE, outcomes(TABLE, ["home", "draw", "away"]))
    with pytest.raises(ModelRefused, match="put an imputer before it: ValueError: Input X contains NaN"):
        load(registry.add_sklearn(fitted))


def test_model_that_disagrees_with_its_own_pyfunc_is_refused(registry: TinyRegistry, load: Load) -> None:
    """Its probabilities are not in the order of its labels."""
    fitted = Turncoat().fit(TABLE, outcomes(TABLE, ["home", "draw", "away"]))
    with pytest.raises(ModelRefused, match=r"differ from MLflow.s own pyfunc of this version: of .* another label"):
        load(registry.add_sklearn(fitted))


@pytest.mark.parametrize(
    ("golden", "reason"),
    [
        ("{", "golden.json is malformed"),
        ("[]", "golden.json is malformed"),
        ("{}", "golden.json is malformed: KeyError"),
        ({"features": [[1, 2], [3]], "probabilities": []}, "golden.json is malformed"),
        ({"features": [["a"] * 6], "probabilities": [[0.2, 0.3, 0.5]]}, "golden.json is malformed"),
        ({"features": [], "probabilities": []}, "shape"),
        ({"features": [[0.0] * 5], "probabilities": [[0.2, 0.3, 0.5]]}, "6 columns"),
        ({"features": [[0.0] * 6] * 2, "probabilities": [[0.2, 0.3, 0.5]]}, "2 rows and probabilities of shape"),
        ({"features": [[0.0] * 6], "probabilities": [[0.2, 0.3, None]]}, "no numbers"),
        ({"features": [[0.0] * 6], "probabilities": [[0.5, 0.5]]}, "probabilities of shape"),
    ],
    ids=str,
)
def test_golden_rows_that_cannot_be_used_refuse_a_version(
    registry: TinyRegistry, load: Load, golden: Any, reason: str
) -> None:
    with pytest.raises(ModelRefused, match=reason):
        load(registry.add_booster(tiny_booster(), golden=golden))


@pytest.mark.parametrize("trained_until", ["yesterday", "", "2026-13-01", "01.07.2026"])
def test_date_that_is_none_refuses_a_version(registry: TinyRegistry, load: Load, trained_until: str) -> None:
    with pytest.raises(ModelRefused, match="trained_until"):
        load(registry.add_booster(tiny_booster(), trained_until=trained_until))


def test_version_without_a_run_is_refused(registry: TinyRegistry, load: Load, tmp_path: Path) -> None:
    """Logged outside a run, registered from a path, or its run erased from the tracking store."""
    registry.add_booster(tiny_booster())
    folder = next(path.parent for path in registry.home.rglob("MLmodel"))
    create = registry.client.create_model_version
    outside = [create(NAME, path.as_uri()).version for path in (folder, tmp_path / "nowhere")]
    outside.append(create(NAME, folder.as_uri(), run_id="0" * 32).version)
    for version in outside:
        with pytest.raises(ModelRefused, match="run"):
            load(version)


def test_files_that_are_no_model_refuse_a_version(registry: TinyRegistry, load: Load) -> None:
    version = registry.add_booster(tiny_booster())
    folder = max(registry.home.rglob("model.ubj"), key=lambda path: path.stat().st_mtime).parent
    original = (folder / "model.ubj").read_bytes()
    (folder / "model.ubj").write_bytes(b"nonsense")
    try:
        with pytest.raises(ModelRefused, match="MLflow cannot load it here"):
            load(version)
    finally:
        (folder / "model.ubj").write_bytes(original)


def test_inspection_names_all_problems_at_once(registry: TinyRegistry, registry_settings: Settings) -> None:
    from worker.registry import ModelRegistry  # noqa: PLC0415  # MLflow is slow to import

    fitted = LogisticRegression().fit(TABLE, outcomes(TABLE, [0, 1, 2]))
    version = registry.add_sklearn(fitted, golden="{", trained_until="yesterday")
    problems = ModelRegistry(registry_settings).inspect("champion", version).problems
    assert [problem.split(" ")[0] for problem in problems] == ["the", "golden.json", "the"], problems


class Turncoat(LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """Gives its probabilities in another order than its classes."""

    def predict_proba(self, rows: Any) -> Any:
        return super().predict_proba(rows.fillna(0))[:, ::-1]

    def predict(self, rows: Any) -> Any:
        return super().predict(rows.fillna(0))


def constant(answer: list[float], *, columns: list[str] | None = None, fault: str = "") -> Any:
    """A model that always says the same, or has a fault."""
    import mlflow.pyfunc  # noqa: PLC0415  # slow to import

    class Constant(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # noqa: ARG002  # MLflow names them
            n = len(model_input)
            if fault == "always" or (fault == "nulls" and model_input.isna().any(axis=None)):
                raise ValueError("cannot")
            if fault == "squeeze":
                return np.squeeze(np.array([answer] * n))
            if fault == "batch":
                return np.roll([answer] * n, 1 if n == 1 else 0, axis=1)
            if fault == "dice":
                return np.random.default_rng().dirichlet([1, 1, 1], n)
            return [answer] * n if columns is None else pd.DataFrame([answer] * n, columns=columns)

    return Constant()


async def test_both_aliases_are_served_from_the_registry(registry_settings: Settings) -> None:
    """The candidate takes fewer columns, in its own order, from the same rows."""
    rows = tiny_rows(4)
    columns = [FEATURES.index(name) for name in CANDIDATE_FEATURES]
    expected = {
        "champion": predict_proba(tiny_booster(), rows),
        "candidate": predict_proba(tiny_booster(CANDIDATE_FEATURES, seed=2), rows[:, columns]),
    }
    async with QueueClient.open(registry_settings) as queue, serving(registry_settings):
        for alias, probabilities in expected.items():
            for row, probability in zip(rows, probabilities, strict=True):
                result = await queue.predict(await a_job(queue, row, alias=alias), timeout_s=8)
                assert result.proba == pytest.approx(probability, abs=1e-6)
        assert [model.alias for model in await queue.models()] == ["candidate", "champion"]


async def test_alias_moved_in_the_registry_is_followed(registry: TinyRegistry, registry_settings: Settings) -> None:
    version = registry.add_booster(tiny_booster(seed=9))
    row = tiny_rows(1)[0]
    async with QueueClient.open(registry_settings) as queue, serving(registry_settings):
        try:
            registry.point("champion", version)

            async def is_served() -> bool:
                return (await queue.workers())[0].models["champion"] == version

            await until(is_served)
            result = await queue.predict(await a_job(queue, row), timeout_s=8)
        finally:
            registry.point("champion", "1")
    assert result.proba == pytest.approx(predict_proba(tiny_booster(seed=9), row[np.newaxis])[0], abs=1e-6)
