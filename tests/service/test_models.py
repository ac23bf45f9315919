"""Models come out of a real MLflow registry, or are refused with a reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from app.errors import ExplanationUnavailable
from app.queue.client import QueueClient
from app.settings import Settings
from tests.support.live import CANDIDATE_FEATURES, a_job, serving
from tests.support.models import FEATURES, TinyRegistry, signature_of, tiny_booster, tiny_rows
from tests.support.serving import until
from worker.inference import predict_proba
from worker.predictors import LoadedModel, ModelRefused

pytestmark = pytest.mark.timeout(90)  # the first test imports MLflow and makes the registry


@pytest.fixture
def load(registry_settings: Settings) -> Callable[[str], LoadedModel]:
    """Load a version as champion."""
    from worker.registry import ModelRegistry  # noqa: PLC0415  # MLflow is slow to import

    source = ModelRegistry(registry_settings)
    return lambda version: source.load("champion", version)


def test_champion_is_the_logged_booster(registry: TinyRegistry, load: Callable[[str], LoadedModel]) -> None:
    model = load("1")
    rows = tiny_rows(6)
    assert model.names == FEATURES
    assert model.predictor.probabilities(rows) == pytest.approx(predict_proba(tiny_booster(), rows), abs=1e-9)
    assert (model.info.flavor, model.info.metrics, model.info.n_features) == ("xgboost", {"log_loss": 1.01}, 6)
    assert model.info.trained_until is not None


def test_golden_rows_that_differ_refuse_a_version(registry: TinyRegistry, load: Callable[[str], LoadedModel]) -> None:
    golden = {"features": [[0.0] * len(FEATURES)], "probabilities": [[0.2, 0.3, 0.5]]}
    version = registry.add_booster(tiny_booster(), golden=golden)
    with pytest.raises(ModelRefused, match="golden rows"):
        load(version)


def test_golden_rows_of_other_columns_refuse_a_version(
    registry: TinyRegistry, load: Callable[[str], LoadedModel]
) -> None:
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
    registry: TinyRegistry, load: Callable[[str], LoadedModel], names: tuple[str, ...], kind: str, reason: str
) -> None:
    version = registry.add_booster(tiny_booster(), signature=signature_of(names, kind))
    with pytest.raises(ModelRefused, match=reason):
        load(version)


def test_scikit_learn_model_answers_and_does_not_explain(
    registry: TinyRegistry, load: Callable[[str], LoadedModel]
) -> None:
    random = np.random.default_rng(3)
    rows = random.normal(size=(60, len(FEATURES))).astype(np.float32)
    table = pd.DataFrame(rows, columns=list(FEATURES))
    regression = LogisticRegression().fit(table, random.integers(0, 3, 60))
    model = load(registry.add_sklearn(regression))
    assert model.info.flavor == "sklearn"
    assert model.predictor.probabilities(rows) == pytest.approx(regression.predict_proba(table), abs=1e-6)
    with pytest.raises(ExplanationUnavailable):
        model.explain(rows)


@pytest.mark.filterwarnings("ignore")  # MLflow's of its own
def test_python_function_answers(registry: TinyRegistry, load: Callable[[str], LoadedModel]) -> None:
    model = load(registry.add_pyfunc(a_function([0.5, 0.3, 0.2])))
    assert model.info.flavor == "pyfunc"
    assert model.predictor.probabilities(tiny_rows(2)).tolist() == [pytest.approx([0.5, 0.3, 0.2])] * 2


@pytest.mark.filterwarnings("ignore")  # MLflow's of its own
@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ([0.5, 0.5], "double", "shape"),
        ([0.5, 0.5, 0.5], "double", "no probability distribution"),
        ([0.5, 0.3, 0.2], "long", "the model fails"),
    ],
    ids=["two classes", "sum of 1.5", "wants whole numbers"],
)
def test_model_that_would_fail_at_every_question_is_refused(
    registry: TinyRegistry, load: Callable[[str], LoadedModel], answer: list[float], kind: str, reason: str
) -> None:
    version = registry.add_pyfunc(a_function(answer), kind=kind)
    with pytest.raises(ModelRefused, match=reason):
        load(version)


def a_function(answer: list[float]) -> Any:
    """A model that always says the same."""
    import mlflow.pyfunc  # noqa: PLC0415  # slow to import

    class Constant(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # noqa: ARG002  # MLflow names them
            return [answer] * len(model_input)

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
