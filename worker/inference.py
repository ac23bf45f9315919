"""From feature rows to 1X2 probabilities: the one way, for live and batch predictions alike."""

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from app.errors import ExplanationUnavailable

OBJECTIVE = "multi:softprob"
N_CLASSES = 3
MARGIN_TOLERANCE = 1e-3  # contributions and margins are float32 sums over hundreds of trees

Rows = npt.NDArray[np.float32]
Margins = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]


def predict_proba(booster: xgb.Booster, rows: Rows, *, rounds: int = 0, missing: float = np.nan) -> Probabilities:
    """Return the probabilities of a booster's three classes, shape (n, 3), float64.

    Args:
        booster: one with the objective multi:softprob and three classes.
        rows: float32, shape (n, n_features); NaN is missing.
        rounds: use the trees of so many boosting rounds; 0 for all.
        missing: a further value that means missing.
    """
    return softmax(predict_margins(booster, rows, rounds=rounds, missing=missing))


def predict_margins(booster: xgb.Booster, rows: Rows, *, rounds: int = 0, missing: float = np.nan) -> Margins:
    """Return the sums of the leaves of each class, shape (n, 3), float32.

    The arguments are those of `predict_proba`.
    """
    margins = booster.inplace_predict(
        np.ascontiguousarray(rows, dtype=np.float32),
        iteration_range=(0, rounds),
        predict_type="margin",
        missing=missing,
        validate_features=False,
    )
    return np.asarray(margins, dtype=np.float32).reshape(len(rows), N_CLASSES)


def softmax(margins: Margins) -> Probabilities:
    """Return the probabilities that XGBoost makes of margins: rounded to float32 where it rounds, rows sum to one."""
    powers = np.exp((margins - margins.max(axis=1, keepdims=True)).astype(np.float64)).astype(np.float32)
    # added from left to right in float64, then rounded, as XGBoost does; numpy's own sum may add in another order
    sums = np.add.accumulate(powers, axis=1, dtype=np.float64)[:, -1:].astype(np.float32)
    return normalize_probabilities((powers / sums).astype(np.float64))


def normalize_probabilities(probabilities: Probabilities) -> Probabilities:
    """Rows that sum to one."""
    sums: Probabilities = probabilities.sum(axis=1, keepdims=True)
    return np.divide(probabilities, sums)


def contributions(
    booster: xgb.Booster, rows: Rows, *, rounds: int = 0, missing: float = np.nan
) -> npt.NDArray[np.float32]:
    """Return what each feature, and last the bias, adds to each class's margin: shape (n, 3, n_features + 1).

    The arguments are those of `predict_proba`.
    """
    matrix = xgb.DMatrix(np.ascontiguousarray(rows, dtype=np.float32), missing=missing, nthread=1)
    trees = {"iteration_range": (0, rounds), "validate_features": False}
    added = np.asarray(booster.predict(matrix, pred_contribs=True, **trees), dtype=np.float32)
    margins = np.asarray(booster.predict(matrix, output_margin=True, **trees))
    if not np.allclose(added.sum(axis=2), margins, atol=MARGIN_TOLERANCE):
        raise ExplanationUnavailable("The contributions do not add up to the model's margin.")
    return added
