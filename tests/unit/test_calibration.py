"""Calibration: the formula is found again, and the calibrated booster answers what the formula says."""

import numpy as np
import pytest
import xgboost as xgb

from worker.inference import predict_proba
from worker.pipeline.training.calibration import Calibration, fit_calibration, fold_calibration_into_booster, softmax


def calibrate(calibration, margins):
    """Return what the formula says."""
    return softmax(margins / calibration.temperature + np.asarray(calibration.bias))


@pytest.fixture(scope="module")
def rows():
    """Features with gaps."""
    found = np.random.default_rng(1).normal(size=(600, 5)).astype(np.float32)
    found[::7, 2] = np.nan
    return found


@pytest.fixture(scope="module")
def booster(rows):
    """A small real softmax booster."""
    outcomes = np.where(np.nan_to_num(rows[:, 0]) > 0.5, 0, np.where(rows[:, 1] > 0, 1, 2))
    parameters = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    return xgb.train(parameters, xgb.DMatrix(rows, outcomes), 30)


@pytest.mark.parametrize(
    "calibration", [Calibration(1.0), Calibration(2.5, (0.3, 0.0, -0.4)), Calibration(0.6, (-0.1, 0.0, 0.2))]
)
def test_calibrated_booster_answers_the_formula(booster, rows, calibration):
    """softmax(margin / T + b), by inplace_predict of the calibrated booster."""
    margins = np.asarray(booster.inplace_predict(rows, predict_type="margin"), dtype=np.float64)
    difference = predict_proba(fold_calibration_into_booster(booster, calibration), rows) - calibrate(
        calibration, margins
    )
    assert np.abs(difference).max() < 1e-6


def test_calibrated_booster_survives_saving(booster, rows, tmp_path):
    """In the format the registry keeps."""
    calibrated = fold_calibration_into_booster(booster, Calibration(1.7, (0.2, 0.0, 0.1)))
    calibrated.save_model(tmp_path / "model.ubj")
    loaded = xgb.Booster(model_file=tmp_path / "model.ubj")
    assert np.array_equal(predict_proba(loaded, rows), predict_proba(calibrated, rows))


def test_contributions_add_up_to_the_calibrated_margin(booster, rows):
    """An explanation of a calibrated booster explains its calibrated margin."""
    calibrated = fold_calibration_into_booster(booster, Calibration(1.7, (0.2, 0.0, 0.1)))
    contributions = calibrated.predict(xgb.DMatrix(rows), pred_contribs=True).sum(axis=2)
    np.testing.assert_allclose(contributions, calibrated.inplace_predict(rows, predict_type="margin"), atol=1e-4)


def test_fit_finds_the_calibration_again():
    """Outcomes drawn from a known calibration of overconfident margins."""
    rng = np.random.default_rng(2)
    margins = rng.normal(size=(40_000, 3)) * 2
    truth = Calibration(2.0, (0.5, 0.0, -0.3))
    draws = (calibrate(truth, margins).cumsum(axis=1) < rng.random((40_000, 1))).sum(axis=1)
    found = fit_calibration(margins, draws)
    assert found.temperature == pytest.approx(2.0, rel=0.03)
    np.testing.assert_allclose(found.bias, truth.bias, atol=0.05)


def test_margins_without_sense_are_left_as_they_are():
    """Outcomes against the margins would need a negative temperature."""
    margins = np.tile(np.eye(3) * 3, (200, 1))
    outcomes = np.tile([1, 2, 0], 200)
    assert fit_calibration(margins, outcomes) == Calibration()


def test_softmax_survives_large_margins():
    """No overflow."""
    assert softmax(np.array([[1000.0, 0.0, -1000.0]])).tolist() == [[1.0, 0.0, 0.0]]
