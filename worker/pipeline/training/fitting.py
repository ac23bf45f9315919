"""Fitting one booster: trained on the past, stopped and calibrated on the last part of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xgboost as xgb

from worker.inference import Probabilities, Rows, predict_proba
from worker.pipeline.failures import TooFewMatches
from worker.pipeline.features.form import feature_names
from worker.pipeline.training import calibration
from worker.pipeline.training.calibration import Floats

# the seasons, up to two years, kept from the fit for stopping and calibrating
_VALIDATION = timedelta(days=730)
_VALIDATION_SHARE = 0.25
# the first tenth of the history teaches the ratings; its own features are still empty
_BURN_IN_SHARE = 0.1
# rounds without gain after which growing stops
_PATIENCE = 25
_LEADING = "elo_diff"
_LEADING_WEIGHT = 1000.0
_BINS = 64


@dataclass(frozen=True, slots=True)
class Dataset:
    """All matches with their features, ordered by kick-off."""

    matches: pa.Table
    features: Rows  # (n, 508)
    kickoff: npt.NDArray[np.datetime64]
    outcome: npt.NDArray[np.int64]  # -1: not played

    @classmethod
    def read(cls, matches: Path, features: Path) -> Self:
        """Read both files and see that their rows belong together."""
        table, stored = pq.read_table(matches), pq.ParquetFile(features)
        if not stored.read(["match_id"])["match_id"].equals(table["match_id"]):
            raise ValueError(f"{features} was not computed from {matches}: their match ids differ")
        kickoff = np.asarray(table["kickoff_utc"].cast(pa.timestamp("us")), dtype="datetime64[us]")
        played = pc.if_else(pc.equal(table["status"], "finished"), table["outcome"].cast(pa.int64()), -1)
        return cls(table, _matrix(stored), kickoff, np.asarray(played, dtype=np.int64))

    def select_played(self, since: datetime | None, until: datetime | None) -> npt.NDArray[np.bool_]:
        """Which matches were played in [since, until); None: no bound."""
        is_chosen = self.outcome >= 0
        if since is not None:
            is_chosen &= self.kickoff >= instant(since)
        if until is not None:
            is_chosen &= self.kickoff < instant(until)
        return is_chosen


def _matrix(stored: pq.ParquetFile) -> Rows:
    """The feature columns as one float32 array, read by row group so that no second copy of all is held."""
    names = list(feature_names())
    matrix = np.empty((stored.metadata.num_rows, len(names)), np.float32)
    start = 0
    for group in range(stored.num_row_groups):
        part = stored.read_row_group(group, names)
        for column, name in enumerate(names):
            matrix[start : start + part.num_rows, column] = part[name].to_numpy()
        start += part.num_rows
    return matrix


def instant(moment: datetime) -> np.datetime64:
    """An aware UTC datetime as numpy has it."""
    return np.datetime64(moment.replace(tzinfo=None), "us")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model sees and how it grows."""

    columns: tuple[str, ...]
    rounds: int
    depth: int = 3
    learning_rate: float = 0.04
    seed: int = 1

    def positions(self) -> list[int]:
        """Where the columns stand among all features."""
        order = {name: position for position, name in enumerate(feature_names())}
        return [order[name] for name in self.columns]

    def weights(self) -> npt.NDArray[np.float32]:
        """How likely each column is to be drawn for a tree: all but certain for the one that says most.

        A tree without it rebuilds it from form, and worse: 0.001 of log-loss on the seasons before the hold-out.
        """
        return np.array([_LEADING_WEIGHT if name == _LEADING else 1.0 for name in self.columns], np.float32)

    def parameters(self, n_matches: int) -> dict[str, Any]:
        """XGBoost's parameters for that many training matches; fewer matches carry smaller leaves."""
        return {
            "objective": "multi:softprob",
            "num_class": 3,
            "tree_method": "hist",
            "max_bin": _BINS,
            "max_depth": self.depth,
            "eta": self.learning_rate,
            "min_child_weight": float(np.clip(n_matches / 2000, 5, 100)),
            "reg_lambda": 10.0,
            "gamma": 3.0,
            # of many matches a smaller part says as much, and trees grow faster
            "subsample": 0.3 if n_matches > 50_000 else 0.5,
            "colsample_bytree": max(0.1, min(1.0, 3.0 / len(self.columns))),
            "eval_metric": "mlogloss",
            "nthread": 2,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibrated booster and how it came about."""

    booster: xgb.Booster
    recipe: Recipe
    trained_until: datetime
    calibration: calibration.Calibration
    parameters: dict[str, Any]

    def rows(self, features: Rows) -> Rows:
        """The columns this model takes, of all features."""
        return features if len(self.recipe.columns) == features.shape[1] else features[:, self.recipe.positions()]

    def predict(self, features: Rows) -> Probabilities:
        """Return probabilities (n, 3) for rows of all features."""
        return predict_proba(self.booster, self.rows(features))


def fit(dataset: Dataset, recipe: Recipe, until: datetime) -> Fit:
    """Fit on matches before `until` only: the last of them stop and calibrate, the rest grow the trees."""
    first = dataset.kickoff[0].astype("datetime64[us]").astype(datetime).replace(tzinfo=until.tzinfo)
    span = until - first
    middle = until - min(_VALIDATION, span * _VALIDATION_SHARE)
    growing = dataset.select_played(first + span * _BURN_IN_SHARE, middle)
    judging = dataset.select_played(middle, until)
    if not growing.any() or not judging.any():
        raise TooFewMatches(f"There are too few matches before {until:%d %B %Y} to train and calibrate on.")
    parameters = recipe.parameters(int(growing.sum()))
    grown, margins = _grow(_part(dataset, recipe, growing), _part(dataset, recipe, judging), parameters, recipe)
    fitted = calibration.fit_calibration(margins, dataset.outcome[judging])
    calibrated = calibration.fold_calibration_into_booster(grown, fitted)
    calibrated.feature_names = list(recipe.columns)
    grown_rounds = {"rounds": grown.num_boosted_rounds(), "n_training_matches": int(growing.sum())}
    return Fit(calibrated, recipe, until, fitted, parameters | grown_rounds)


_Part = tuple[Rows, npt.NDArray[np.int64]]


def _part(dataset: Dataset, recipe: Recipe, chosen: npt.NDArray[np.bool_]) -> _Part:
    """Rows and outcomes of the chosen matches; columns first, so that no copy of all 508 is made for a few."""
    features = dataset.features
    if len(recipe.columns) < features.shape[1]:
        features = features[:, recipe.positions()]
    return features[chosen], dataset.outcome[chosen]


def _grow(growing: _Part, judging: _Part, parameters: dict[str, Any], recipe: Recipe) -> tuple[xgb.Booster, Floats]:
    """The booster, stopped when the later matches gain no more, and its margins for those."""
    training = xgb.QuantileDMatrix(*growing, max_bin=parameters["max_bin"], nthread=parameters["nthread"])
    watched = xgb.DMatrix(*judging, nthread=parameters["nthread"])
    training.set_info(feature_weights=recipe.weights())
    evals, rounds = [(watched, "later")], recipe.rounds
    booster = xgb.train(parameters, training, rounds, evals=evals, early_stopping_rounds=_PATIENCE, verbose_eval=False)
    best = booster[: booster.best_iteration + 1]
    margins = best.inplace_predict(judging[0], predict_type="margin")
    return best, np.asarray(margins, dtype=np.float64)
