"""Calibration of a softmax booster, folded into its trees: one temperature, and one bias per outcome.

The calibrated probabilities are softmax(margin / temperature + bias). Both are linear in the margin, so they can be
written into the booster itself: leaves divided by the temperature, the bias added to the base score. Whoever
loads the booster gets calibrated probabilities without knowing of calibration.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import xgboost as xgb

Floats = npt.NDArray[np.float64]
Outcomes = npt.NDArray[np.integer]

_NEWTON_STEPS = 25
# keeps a tiny validation part from pulling the temperature far away from 1
_PRIOR_MATCHES = 10.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """softmax(margin / temperature + bias); the bias of the draw is 0."""

    temperature: float = 1.0
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)


def softmax(margins: Floats) -> Floats:
    """Rows of margins as probabilities."""
    raised = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_calibration(margins: Floats, outcomes: Outcomes) -> Calibration:
    """The calibration with the smallest log-loss on these matches: a convex problem, solved by Newton's method."""
    weights = np.array([1.0, 0.0, 0.0])  # 1/temperature, bias of home, bias of away
    for _ in range(_NEWTON_STEPS):
        step = _newton_step(margins, outcomes, weights)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    slope, home, away = weights.tolist()
    if not slope > 0:
        # the margins say nothing about these outcomes: no temperature can mend that
        return Calibration()
    return Calibration(1.0 / slope, (home, 0.0, away))


def _newton_step(margins: Floats, outcomes: Outcomes, weights: Floats) -> Floats:
    """Gradient over curvature of the summed log-loss at `weights`."""
    ones, zeros = np.ones(len(margins)), np.zeros(len(margins))
    inputs = np.stack([margins, np.stack([ones, zeros, zeros], 1), np.stack([zeros, zeros, ones], 1)], axis=2)
    forecast = softmax(inputs @ weights)
    happened = np.eye(3)[outcomes]
    mean = np.einsum("nk,nkj->nj", forecast, inputs)
    gradient = (mean - np.einsum("nk,nkj->nj", happened, inputs)).sum(axis=0)
    curvature = np.einsum("nk,nki,nkj->ij", forecast, inputs, inputs) - mean.T @ mean
    prior = _PRIOR_MATCHES * np.eye(3)
    gradient = gradient + prior @ (weights - np.array([1.0, 0.0, 0.0]))
    return np.asarray(np.linalg.solve(curvature + prior, gradient))


def fold_calibration_into_booster(booster: xgb.Booster, calibration: Calibration) -> xgb.Booster:
    """A new booster whose own probabilities are the calibrated ones."""
    model = orjson.loads(bytes(booster.save_raw("json")))
    learner = model["learner"]
    for tree in learner["gradient_booster"]["model"]["trees"]:
        _divide_leaves(tree, calibration.temperature)
    base = orjson.loads(learner["learner_model_param"]["base_score"])
    moved = [value / calibration.temperature + bias for value, bias in zip(base, calibration.bias, strict=True)]
    learner["learner_model_param"]["base_score"] = orjson.dumps(moved).decode()
    return xgb.Booster(model_file=bytearray(orjson.dumps(model)))


def _divide_leaves(tree: dict[str, list[float]], temperature: float) -> None:
    """Scale a tree's outputs; a leaf's value stands where an inner node has its split."""
    tree["base_weights"] = [value / temperature for value in tree["base_weights"]]
    tree["split_conditions"] = [
        value / temperature if left == -1 else value
        for value, left in zip(tree["split_conditions"], tree["left_children"], strict=True)
    ]
