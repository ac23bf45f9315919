"""A loaded model finds its columns, and explains what it says."""

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from app.errors import FeaturesMismatch, PredictionFailed
from tests.support.live import an_info
from tests.support.models import FEATURES, tiny_booster, tiny_rows
from worker.inference import contributions
from worker.predictors import TOP_FEATURES, BoosterPredictor, LoadedModel, TablePredictor


@pytest.fixture
def model() -> LoadedModel:
    """A tiny champion."""
    return LoadedModel(an_info(), FEATURES, BoosterPredictor(tiny_booster()))


def test_columns_are_found_by_name(model: LoadedModel) -> None:
    announced = ("extra", *FEATURES[::-1])
    assert [announced[column] for column in model.columns("turned", announced)] == list(FEATURES)


def test_missing_columns_are_counted_and_named(model: LoadedModel) -> None:
    with pytest.raises(FeaturesMismatch, match=r"2 of the 6 .*elo_home, elo_away"):
        model.columns("fewer", FEATURES[2:])


def test_contributions_add_up_to_the_margin() -> None:
    booster, rows = tiny_booster(), tiny_rows(5)
    margins = booster.predict(xgb.DMatrix(rows, feature_names=list(FEATURES)), output_margin=True)
    assert contributions(booster, rows).sum(axis=2) == pytest.approx(margins, abs=1e-4)


def test_explanation_holds_the_heaviest_features_of_each_outcome(model: LoadedModel) -> None:
    rows = tiny_rows(1)
    added = model.predictor.contributions(rows)[0, :, :-1]
    named = {row.feature: row for row in model.explain(rows)[0]}
    for outcome in range(3):
        heaviest = FEATURES[int(np.abs(added[outcome]).argmax())]
        assert heaviest in named
    assert len(named) <= 3 * TOP_FEATURES


@pytest.mark.parametrize("answer", [[[0.5, 0.5]], [[0.9, 0.9, 0.9]], [[1.5, -0.5, 0.0]], [[np.nan, 0.5, 0.5]]])
def test_answer_that_is_no_distribution_fails(answer: list[list[float]]) -> None:
    predictor = TablePredictor(lambda _: np.array(answer), dict.fromkeys(FEATURES, "float64"))
    with pytest.raises(PredictionFailed):
        predictor.probabilities(tiny_rows(1))


def test_named_columns_of_an_answer_count_by_name() -> None:
    """A table whose columns come in another order from call to call, as those of a set do."""
    orders = iter((["home", "draw", "away"], ["away", "home", "draw"], ["home", "tie", "away"]))
    values = {"home": [0.5], "draw": [0.3], "away": [0.2], "tie": [0.3]}
    predictor = TablePredictor(lambda _: pd.DataFrame(values)[next(orders)], dict.fromkeys(FEATURES, "float64"))
    rows = np.zeros((1, len(FEATURES)), dtype=np.float32)
    assert [predictor.probabilities(rows)[0].tolist() for _ in range(2)] == [pytest.approx([0.5, 0.3, 0.2])] * 2
    with pytest.raises(PredictionFailed, match="tie"):
        predictor.probabilities(rows)
