"""A model that is ready to answer."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.errors import FeaturesMismatch
from app.queue.jobs import Contribution, ModelInfo
from worker.inference import Rows
from worker.predictors import Predictor

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
