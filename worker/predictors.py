"""One face for the kinds of model that MLflow may hold."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from app.errors import ExplanationUnavailable, PredictionFailed
from worker.inference import Probabilities, Rows, contributions, normalised, predict_proba

SUM_TOLERANCE = 1e-3
CLASSES = 3


class Predictor(Protocol):
    """Gives probabilities for rows in the order of the model's signature."""

    def probabilities(self, rows: Rows) -> Probabilities:
        """Home, draw, away; shape (n, 3)."""
        ...

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """What each feature, and last the bias, adds to each margin; shape (n, 3, n_features + 1)."""
        ...


class BoosterPredictor:
    """A native XGBoost booster."""

    def __init__(self, booster: xgb.Booster) -> None:
        # one thread: for a few rows the others cost fifty times what they bring
        booster.set_param({"nthread": 1})
        self._booster = booster

    def probabilities(self, rows: Rows) -> Probabilities:
        """See Predictor."""
        return predict_proba(self._booster, rows)

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """See Predictor; ExplanationUnavailable when the contributions do not add up to the margins."""
        return contributions(self._booster, rows)


class TablePredictor:
    """Any other model: a function of a table with named columns."""

    def __init__(self, predict: Any, names: tuple[str, ...]) -> None:
        self._predict = predict
        self._names = list(names)

    def probabilities(self, rows: Rows) -> Probabilities:
        """See Predictor."""
        import pandas as pd  # noqa: PLC0415  # slow to import, and only these models need it

        frame = pd.DataFrame(rows, columns=self._names)
        answer = np.asarray(self._predict(frame), dtype=np.float64)
        return _sound(answer, len(rows))

    def contributions(self, rows: Rows) -> npt.NDArray[np.float32]:
        """Only XGBoost tells."""
        raise ExplanationUnavailable(f"Only XGBoost models explain themselves ({len(rows)} rows asked).")


def _sound(answer: Probabilities, n_rows: int) -> Probabilities:
    """Rows that sum to one, or PredictionFailed: never a silently wrong number."""
    if answer.shape != (n_rows, CLASSES):
        raise PredictionFailed(f"The model answered with shape {answer.shape}, not ({n_rows}, {CLASSES}).")
    sums = answer.sum(axis=1, keepdims=True)
    if not (np.isfinite(answer).all() and (answer >= 0).all() and np.allclose(sums, 1, atol=SUM_TOLERANCE)):
        raise PredictionFailed("The model's answer is no probability distribution.")
    return normalised(answer)
