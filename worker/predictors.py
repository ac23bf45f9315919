"""Loaded models: one interface for the kinds of model that MLflow holds."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from app.errors import ExplanationUnavailable, FeaturesMismatch, PredictionFailed
from app.queue.jobs import Contribution, ModelInfo
from worker.class_order import ClassOrder
from worker.inference import (
    N_CLASSES,
    Probabilities,
    Rows,
    contributions,
    normalize_probabilities,
    predict_proba,
    softmax,
)
from worker.trees import TreesUnsupported, TreeWalk

log = logging.getLogger(__name__)

SUM_TOLERANCE = 1e-3
# with 900 trees of depth 6 a walk of 20 rows takes as long as XGBoost; it is XGBoost that gains with more
WALK_ROWS = 20


class Predictor(Protocol):
    """Gives probabilities for rows in the order of the model's signature."""

    @property
    def quick_rows(self) -> int:
        """Up to how many rows it computes without holding up an event loop: about a millisecond."""
        ...

    def probabilities(self, rows: Rows) -> Probabilities:
        """Return home, draw, away; shape (n, 3)."""
        ...

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Return what each feature, and last the bias, adds to each margin; shape (n, 3, n_features + 1)."""
        ...


class BoosterPredictor:
    """A native XGBoost booster. Its classes come in the booster's own order.

    Its trees are walked for a few rows where they can be, which gives the same margins sooner.

    Args:
        booster: one with the objective multi:softprob and three classes.
        rounds: boosting rounds that count, as early stopping chose them; 0 for all.
        missing: a value that means missing, beside NaN.
    """

    def __init__(self, booster: xgb.Booster, *, rounds: int = 0, missing: float = np.nan) -> None:
        # one thread: for a few rows the others cost fifty times what they bring
        booster.set_param({"nthread": 1})
        self._booster = booster
        self._rounds = rounds
        self._missing = missing
        self._walk: TreeWalk | None = None
        try:
            self._walk = TreeWalk(booster, rounds=rounds, missing=missing)
        except TreesUnsupported as error:
            log.info("trees.not_walked: XGBoost answers for every row: %s", error)

    @property
    def quick_rows(self) -> int:
        """See Predictor."""
        return WALK_ROWS if self._walk is not None else 0

    def probabilities(self, rows: Rows) -> Probabilities:
        """See Predictor."""
        if self._walk is not None and len(rows) <= WALK_ROWS:
            return softmax(self._walk.margins(rows))
        return predict_proba(self._booster, rows, rounds=self._rounds, missing=self._missing)

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """See Predictor; ExplanationUnavailable when the contributions do not add up to the margins."""
        return contributions(self._booster, rows, rounds=self._rounds, missing=self._missing)

    def check_walk(self, rows: Rows) -> None:
        """Walk the trees no more if that gives other margins than XGBoost for any of these rows."""
        if self._walk is not None and not self._walk.agrees_with(self._booster, rows, rounds=self._rounds):
            log.warning("trees.not_walked: XGBoost answers for every row: a walk differs on the golden rows")
            self._walk = None


class TablePredictor:
    """Any other model: a function of a table with named columns. Its classes come in the model's own order.

    Args:
        predict: takes a pandas DataFrame, returns probabilities of shape (n, 3).
        dtypes: the columns of the table with their numpy types, in order.
    """

    def __init__(self, predict: Callable[[Any], Any], dtypes: Mapping[str, str]) -> None:
        self._predict = predict
        self._dtypes = dict(dtypes)
        self._names: list[Any] | None = None  # the columns of the first answer, where it has names

    @property
    def quick_rows(self) -> int:
        """None: nobody knows what it does."""
        return 0

    def probabilities(self, rows: Rows) -> Probabilities:
        """See Predictor; PredictionFailed when the answer is no distribution."""
        answer = self._in_one_order(self._predict(make_table(rows, self._dtypes)))
        return _check_distribution(np.asarray(answer, dtype=np.float64), len(rows))

    def _in_one_order(self, answer: Any) -> Any:
        """Return a table of named columns in the order of the first answer's: a name says more than a place."""
        names = getattr(answer, "columns", None)
        if names is None:
            return answer
        if self._names is None:
            self._names = list(names)
        if list(names) == self._names:
            return answer
        if set(names) != set(self._names):
            raise PredictionFailed(f"The model answered with the columns {list(names)}, and {self._names} before.")
        return answer[self._names]

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Only XGBoost models have them."""
        raise ExplanationUnavailable(f"Only XGBoost models explain themselves ({len(rows)} rows asked).")


class OrderedPredictor:
    """A predictor whose classes come as home, draw, away, whatever the model's own order."""

    def __init__(self, predictor: Predictor, order: ClassOrder) -> None:
        self._predictor = predictor
        self._order = order

    @property
    def quick_rows(self) -> int:
        """See Predictor."""
        return self._predictor.quick_rows

    def probabilities(self, rows: Rows) -> Probabilities:
        """See Predictor."""
        probabilities: Probabilities = self._order.apply(self._predictor.probabilities(rows))
        return probabilities

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """See Predictor."""
        added: npt.NDArray[np.float32] = self._order.apply(self._predictor.contributions(rows))
        return added


def make_table(rows: Rows, dtypes: Mapping[str, str]) -> Any:
    """Return rows as a pandas DataFrame with the columns and types of a signature."""
    import pandas as pd  # noqa: PLC0415  # slow to import, and only these models need it

    kinds = set(dtypes.values())
    if len(kinds) == 1:
        return pd.DataFrame(rows.astype(kinds.pop()), columns=list(dtypes))
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)


def _check_distribution(answer: Probabilities, n_rows: int) -> Probabilities:
    """Return rows that sum to one; PredictionFailed otherwise: never a silently wrong number."""
    if answer.shape != (n_rows, N_CLASSES):
        raise PredictionFailed(f"The model answered with shape {answer.shape}, not ({n_rows}, {N_CLASSES}).")
    sums = answer.sum(axis=1, keepdims=True)
    if not (np.isfinite(answer).all() and (answer >= 0).all() and np.allclose(sums, 1, atol=SUM_TOLERANCE)):
        raise PredictionFailed("The model's answer is no probability distribution: its rows do not sum to one.")
    return normalize_probabilities(answer)


TOP_FEATURES = 5  # per outcome
NAMES_SHOWN = 5

Columns = npt.NDArray[np.intp]


class ModelRefused(Exception):
    """This version must not serve, however often it is tried."""


@dataclass(slots=True, eq=False)
class LoadedModel:
    """One version of a registered model, loaded, warm and verified."""

    info: ModelInfo
    names: tuple[str, ...]  # the signature's columns, in its order
    predictor: Predictor
    _columns: dict[str, Columns] = field(default_factory=dict)

    def columns(self, feature_set: str, announced: tuple[str, ...]) -> Columns:
        """Where in an announced row the model's own columns stand; FeaturesMismatch when some are missing."""
        if feature_set not in self._columns:
            self._columns[feature_set] = self._find_columns(announced)
        return self._columns[feature_set]

    def _find_columns(self, announced: tuple[str, ...]) -> Columns:
        place = {name: column for column, name in enumerate(announced)}
        missing = [name for name in self.names if name not in place]
        if missing:
            some = ", ".join(missing[:NAMES_SHOWN])
            raise FeaturesMismatch(
                f"{len(missing)} of the {len(self.names)} features of {self.info.alias} "
                f"(version {self.info.version}) are missing from the feature row: {some}"
            )
        return np.array([place[name] for name in self.names], dtype=np.intp)

    def explain(self, rows: Rows) -> list[list[Contribution]]:
        """The features that weigh most in each row, heaviest first."""
        added = self.predictor.contributions(rows)[:, :, :-1]  # the bias is no feature
        return [self._heaviest(row, weights) for row, weights in zip(rows, added, strict=True)]

    def _heaviest(self, row: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> list[Contribution]:
        size = np.abs(weights)
        top = np.unique(np.argsort(size, axis=1)[:, -TOP_FEATURES:])
        ordered = top[np.argsort(size[:, top].max(axis=0))[::-1]]
        return [self._contribution(column, row, weights) for column in ordered]

    def _contribution(
        self, column: int, row: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]
    ) -> Contribution:
        value = float(row[column])
        home, draw, away = (float(weight) for weight in weights[:, column])
        return Contribution(self.names[column], None if np.isnan(value) else value, home, draw, away)
