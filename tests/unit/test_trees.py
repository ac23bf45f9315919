"""Trees walked by numpy beside XGBoost itself, which is the oracle: margins bit for bit, whatever the booster."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.models import tiny_booster, tiny_rows
from worker import trees
from worker.inference import Margins, Rows, predict_margins, predict_proba, softmax
from worker.predictors import WALK_ROWS, BoosterPredictor
from worker.trees import TreesUnsupported, TreeWalk

WIDTH = 5
MULTI = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}


@dataclass(frozen=True)
class Trained:
    """A booster, and how it is asked."""

    booster: xgb.Booster
    rounds: int = 0
    missing: float = np.nan

    def expect_margins(self, rows: Rows) -> Margins:
        """What XGBoost gives by another of its doors than the one the product uses."""
        matrix = xgb.DMatrix(rows, missing=self.missing)
        margins = self.booster.predict(
            matrix, output_margin=True, iteration_range=(0, self.rounds), validate_features=False
        )
        return np.asarray(margins, dtype=np.float32)

    def walk(self) -> TreeWalk:
        return TreeWalk(self.booster, rounds=self.rounds, missing=self.missing)

    def predictor(self) -> BoosterPredictor:
        return BoosterPredictor(self.booster, rounds=self.rounds, missing=self.missing)


def make_rows(n: int, seed: int, *, missing: float = np.nan) -> Rows:
    """Return rows of small whole and half numbers, so that many equal a threshold; a fifth of them missing."""
    random = np.random.default_rng(seed)
    rows = (random.integers(-6, 7, (n, WIDTH)) / 2).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    rows[random.random(rows.shape) < 0.1] = missing
    return rows


def train(params: dict[str, Any], *, rounds: int = 5, seed: int = 1, missing: float = np.nan) -> xgb.Booster:
    rows = make_rows(200, seed, missing=missing)
    outcomes = np.random.default_rng(seed).integers(0, 3, 200)
    outcomes[rows[:, 0] > 1] = 0
    matrix = xgb.DMatrix(rows, outcomes, missing=missing)
    return xgb.train(MULTI | {"seed": seed} | params, matrix, rounds)


PARAMS = st.fixed_dictionaries(
    {
        "max_depth": st.integers(1, 10),
        "gamma": st.sampled_from([0.0, 0.5, 5.0]),
        "min_child_weight": st.sampled_from([0.0, 1.0, 20.0]),
        "subsample": st.sampled_from([0.5, 1.0]),
        "colsample_bytree": st.sampled_from([0.4, 1.0]),
        "learning_rate": st.sampled_from([0.01, 0.3, 1.0]),
        "num_parallel_tree": st.integers(1, 3),
        "tree_method": st.sampled_from(["hist", "approx", "exact"]),
        "max_delta_step": st.sampled_from([0.0, 0.7]),
    },
    optional={"base_score": st.sampled_from([0.1, 0.5, 0.9]), "reg_alpha": st.just(1.0)},
)


@settings(max_examples=60, deadline=None)
@given(
    params=PARAMS,
    rounds=st.integers(1, 12),
    kept=st.integers(0, 12),
    seed=st.integers(0, 1000),
    missing=st.sampled_from([np.nan, -999.0, 0.0, 2.5]),
)
def test_walk_gives_xgboosts_margins_bit_for_bit(
    params: dict[str, Any], rounds: int, kept: int, seed: int, missing: float
) -> None:
    booster = train(params, rounds=rounds, seed=seed, missing=missing)
    trained = Trained(booster, rounds=kept if kept < rounds else 0, missing=missing)
    walk = trained.walk()
    rows = make_rows(64, seed + 1, missing=missing)
    expected = trained.expect_margins(rows)
    assert np.array_equal(walk.margins(rows), expected)
    for row, margins in zip(rows[:8], expected, strict=False):
        assert np.array_equal(walk.margins(row[np.newaxis]), margins[np.newaxis])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 3 * WALK_ROWS), min_size=1, max_size=6))
def test_answer_does_not_depend_on_its_batch(seed: int, sizes: list[int]) -> None:
    """Below the crossover numpy answers, above it XGBoost."""
    predictor = Trained(train({"max_depth": 4}, rounds=20, seed=3)).predictor()
    assert predictor.quick_rows == WALK_ROWS
    rows = make_rows(sum(sizes), seed)
    alone = np.concatenate([predictor.probabilities(row[np.newaxis]) for row in rows])
    split = np.concatenate([predictor.probabilities(part) for part in np.split(rows, np.cumsum(sizes)[:-1])])
    assert np.array_equal(alone, split)


@settings(max_examples=60, deadline=None)
@given(margins=st.lists(st.tuples(*3 * [st.floats(-80, 80, width=32)]), min_size=1, max_size=50))
def test_softmax_is_that_of_xgboost(margins: list[tuple[float, float, float]]) -> None:
    """A booster without trees answers with the softmax of the margins it is given."""
    given_margins = np.array(margins, dtype=np.float32)
    matrix = xgb.DMatrix(np.zeros((len(margins), 1), np.float32), base_margin=given_margins)
    booster = xgb.train(MULTI | {"base_score": 0.0}, xgb.DMatrix(np.zeros((3, 1), np.float32), [0, 1, 2]), 0)
    probabilities = softmax(given_margins)
    assert probabilities == pytest.approx(booster.predict(matrix).reshape(-1, 3), abs=2e-7)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-15)


def early_stopped() -> Trained:
    rows, outcomes = make_rows(300, 1), np.random.default_rng(1).integers(0, 3, 300)
    model = xgb.XGBClassifier(n_estimators=60, max_depth=4, early_stopping_rounds=3, learning_rate=0.5, n_jobs=1)
    model.fit(rows[:200], outcomes[:200], eval_set=[(rows[200:], outcomes[200:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    return Trained(model.get_booster(), rounds=int(model.best_iteration) + 1)


def wrapped_with_missing() -> Trained:
    rows, outcomes = make_rows(200, 2, missing=-999.0), np.random.default_rng(2).integers(0, 3, 200)
    model = xgb.XGBClassifier(n_estimators=8, max_depth=5, missing=-999.0, n_jobs=1)
    model.fit(rows, outcomes)
    return Trained(model.get_booster(), missing=-999.0)


def trained_on_base_margins() -> Trained:
    """What the training began with is not what a question begins with."""
    rows, random = make_rows(200, 3), np.random.default_rng(3)
    matrix = xgb.DMatrix(rows, random.integers(0, 3, 200), base_margin=random.normal(size=(200, 3)))
    return Trained(xgb.train(MULTI | {"max_depth": 3}, matrix, 6))


def base_score_estimated() -> Trained:
    """XGBoost estimates what each class begins with where nobody says it."""
    rows, outcomes = make_rows(200, 4), np.repeat([0, 1, 2], [150, 30, 20])
    booster = xgb.train(MULTI | {"max_depth": 3}, xgb.DMatrix(rows, outcomes), 4)
    return Trained(booster)


def without_trees() -> Trained:
    return Trained(train({}, rounds=0))


def without_a_split() -> Trained:
    """Every tree is one leaf."""
    return Trained(train({"gamma": 1e9}))


def pruned_later() -> Trained:
    booster = train({"max_depth": 6}, rounds=4)
    rows, outcomes = make_rows(200, 9), np.random.default_rng(9).integers(0, 3, 200)
    params = MULTI | {"process_type": "update", "updater": "prune", "gamma": 2.0, "verbosity": 0}
    return Trained(xgb.train(params, xgb.DMatrix(rows, outcomes), 4, xgb_model=booster))


def sliced() -> Trained:
    return Trained(train({"max_depth": 3}, rounds=9)[2:7])


def by_loss() -> Trained:
    return Trained(train({"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0}, rounds=4))


def one_round_of_many() -> Trained:
    return Trained(train({"max_depth": 3}, rounds=9), rounds=1)


WALKED = [
    early_stopped,
    wrapped_with_missing,
    trained_on_base_margins,
    base_score_estimated,
    without_trees,
    without_a_split,
    pruned_later,
    sliced,
    by_loss,
    one_round_of_many,
]


@pytest.mark.parametrize("make", WALKED)
def test_kinds_of_booster_that_are_walked(make: Any) -> None:
    trained = make()
    rows = make_rows(100, 11, missing=trained.missing)
    rows[0] = np.nan
    assert np.array_equal(trained.walk().margins(rows), trained.expect_margins(rows))
    reference = trained.booster.predict(
        xgb.DMatrix(rows, missing=trained.missing), iteration_range=(0, trained.rounds), validate_features=False
    )
    assert trained.predictor().probabilities(rows[:WALK_ROWS]) == pytest.approx(reference[:WALK_ROWS], abs=1e-6)


def dart() -> Trained:
    return Trained(train({"booster": "dart", "rate_drop": 0.5, "one_drop": 1}))


def leaves_of_all_classes() -> Trained:
    return Trained(train({"multi_strategy": "multi_output_tree", "tree_method": "hist"}))


def by_category() -> Trained:
    rows = make_rows(200, 5)
    rows[:, 0] = np.abs(np.nan_to_num(rows[:, 0])).round()
    types = ["c", *(WIDTH - 1) * ["q"]]
    matrix = xgb.DMatrix(rows, (rows[:, 0] % 3).astype(int), feature_types=types, enable_categorical=True)
    return Trained(xgb.train(MULTI | {"max_cat_to_onehot": 1}, matrix, 3))


def too_deep() -> Trained:
    random = np.random.default_rng(6)
    rows = random.normal(size=(4000, WIDTH)).astype(np.float32)
    params = MULTI | {"max_depth": 14, "min_child_weight": 0}
    return Trained(xgb.train(params, xgb.DMatrix(rows, random.integers(0, 3, 4000)), 2))


def more_rounds_than_there_are() -> Trained:
    return Trained(train({}, rounds=2), rounds=3)


def other_objective() -> Trained:
    return Trained(train({"objective": "multi:softmax"}))


def linear() -> Trained:
    return Trained(train({"booster": "gblinear"}))


LEFT_TO_XGBOOST = [
    (dart, "it is a dart"),
    (leaves_of_all_classes, "answers for all classes at once"),
    (by_category, "splits by category"),
    (too_deep, "deeper than 10"),
    (more_rounds_than_there_are, "it has 2 rounds, not 3"),
    (other_objective, "the objective multi:softmax"),
    (linear, "it is a gblinear"),
]


@pytest.mark.parametrize(("make", "reason"), LEFT_TO_XGBOOST)
def test_kinds_of_booster_that_are_left_to_xgboost(make: Any, reason: str) -> None:
    with pytest.raises(TreesUnsupported, match=reason):
        make().walk()


@pytest.mark.parametrize("make", [dart, leaves_of_all_classes, by_category, too_deep])
def test_what_is_left_to_xgboost_is_answered_as_it_answers(make: Any) -> None:
    trained = make()
    predictor = trained.predictor()
    assert predictor.quick_rows == 0
    # a category that training did not know is an error
    rows = make_rows(30, 12)
    rows[:, 0] = np.abs(np.nan_to_num(rows[:, 0])).round()
    matrix = xgb.DMatrix(rows, feature_types=trained.booster.feature_types, enable_categorical=True)
    assert predictor.probabilities(rows) == pytest.approx(trained.booster.predict(matrix), abs=1e-6)


def test_trees_too_large_when_complete_are_left_to_xgboost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "NODES_MAX", 50)
    with pytest.raises(TreesUnsupported, match="more than 50 nodes"):
        TreeWalk(tiny_booster())


def test_infinite_values_go_where_xgboost_sends_them() -> None:
    booster = tiny_booster()
    rows = tiny_rows(30)
    rows[::3, 0], rows[1::3, 1] = np.inf, -np.inf
    assert np.array_equal(TreeWalk(booster).margins(rows), predict_margins(booster, rows))


def test_walk_that_differs_at_load_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: here the sums begin at another score."""
    read = trees._read_trees

    def misread(learner: dict[str, Any], rounds: int) -> Any:
        found, base = read(learner, rounds)
        return found, base + np.float32(1e-4)

    monkeypatch.setattr(trees, "_read_trees", misread)
    booster = tiny_booster()
    with pytest.raises(TreesUnsupported, match="other margins than XGBoost"):
        TreeWalk(booster)
    predictor = BoosterPredictor(booster)
    assert predictor.quick_rows == 0
    assert np.array_equal(predictor.probabilities(tiny_rows()), predict_proba(booster, tiny_rows()))


def test_walk_that_differs_on_golden_rows_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    predictor = BoosterPredictor(tiny_booster())
    predictor.check_walk(tiny_rows())
    assert predictor.quick_rows == WALK_ROWS
    walk = predictor._walk
    assert walk is not None
    walk._leaves[:] += np.float32(0.01)
    predictor.check_walk(tiny_rows())
    assert predictor.quick_rows == 0
    assert "a walk differs on the golden rows" in caplog.text
