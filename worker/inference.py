"""From feature rows to 1X2 probabilities: the one way, for live and batch predictions alike."""

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from app.errors import ExplanationUnavailable

MARGIN_TOLERANCE = 1e-3  # contributions and margins are float32 sums over hundreds of trees

Rows = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


def predict_proba(booster: xgb.Booster, rows: Rows) -> Probabilities:
    """Probabilities of home, draw, away, shape (n, 3), for float32 `rows` of shape (n, n_features); NaN is missing."""
    raw = booster.inplace_predict(np.ascontiguousarray(rows, dtype=np.float32), validate_features=False)
    return normalize_probabilities(np.asarray(raw, dtype=np.float64).reshape(len(rows), 3))


def normalize_probabilities(probabilities: Probabilities) -> Probabilities:
    """Rows that sum to one."""
    sums: Probabilities = probabilities.sum(axis=1, keepdims=True)
    return np.divide(probabilities, sums)


def contributions(booster: xgb.Booster, rows: Rows) -> npt.NDArray[np.float32]:
    """What each feature, and last the bias, adds to each outcome's margin: shape (n, 3, n_features + 1)."""
    matrix = xgb.DMatrix(np.ascontiguousarray(rows, dtype=np.float32), nthread=1)
    added = np.asarray(booster.predict(matrix, pred_contribs=True, validate_features=False), dtype=np.float32)
    margins = np.asarray(booster.predict(matrix, output_margin=True, validate_features=False))
    if not np.allclose(added.sum(axis=2), margins, atol=MARGIN_TOLERANCE):
        raise ExplanationUnavailable("The contributions do not add up to the model's margin.")
    return added
