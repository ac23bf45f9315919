"""Walk-forward: older matches are predicted by models that knew only earlier ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xgboost as xgb

from worker.batch.features import feature_names
from worker.batch.fitting import Fit, Recipe, World, fit, instant
from worker.batch.progress import Progress
from worker.inference import Probabilities, predict_proba

if TYPE_CHECKING:
    from worker.batch.training import TrainingResult

# blocks between the first match and the champion's period
_PARTS = 6
_FEWEST_MATCHES = 500
# a first block trained on less of the whole has seen little more than how ratings begin
_SMALLEST_SHARE = 0.05
_YEAR = timedelta(days=365.25)
_CHUNK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Block:
    """A model of the walk and the period it predicts: [trained_until, predicts_until)."""

    fit: Fit
    predicts_until: datetime

    @property
    def booster(self) -> xgb.Booster:
        """The calibrated booster."""
        return self.fit.booster

    @property
    def trained_until(self) -> datetime:
        """The moment from which this model knows nothing."""
        return self.fit.trained_until

    @property
    def version(self) -> str:
        """A name for the block, after the month in which its knowledge ends."""
        return f"wf-{self.trained_until:%Y-%m}"


def recipe() -> Recipe:
    """What the walk's models see: Elo, rest, and form over two of the windows; nearly as good, many times faster."""
    form = tuple(name for name in feature_names() if name.startswith("form_") and name.split("_")[-2] in ("5", "12"))
    columns = ("elo_home", "elo_away", "elo_diff", *(name for name in form if name.endswith("_diff")), "rest_days_diff")
    return Recipe(columns=columns, rounds=250)


def fit_blocks(world: World, champion_from: datetime, progress: Progress) -> tuple[Block, ...]:
    """Models for the time before the champion's, each trained only on what came before its block."""
    starts = boundaries(world, champion_from)
    with progress.step("walk-forward models", total=len(starts)) as advance:
        blocks = []
        for start, end in zip(starts, [*starts, champion_from][1:], strict=True):
            blocks.append(Block(fit(world, recipe(), start), end))
            advance(1)
    return tuple(blocks)


def boundaries(world: World, champion_from: datetime) -> list[datetime]:
    """Where blocks begin: whole years before the champion's period, as far back as there is something to train on."""
    first = world.kickoff[0].astype("datetime64[us]").item().replace(tzinfo=UTC)
    step = max(1, -(-(champion_from - first) // (_PARTS * _YEAR)))
    years = range(champion_from.year - step, first.year, -step)
    starts = [champion_from.replace(year=year) for year in years]
    fewest = max(_FEWEST_MATCHES, _SMALLEST_SHARE * len(world.kickoff))
    return sorted(start for start in starts if world.played(None, start).sum() >= fewest)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Neighbouring matches that one model predicts."""

    rows: slice
    fit: Fit
    version: str
    stage: str
    in_sample: bool


def predict_all(matches: Path, features: Path, result: "TrainingResult", progress: Progress) -> pa.Table:
    """Probabilities for every match, each from the model whose period it falls in, in the order of `matches`."""
    world = World.read(matches, features)
    probabilities = np.empty((len(world.kickoff), 3))
    stretches = list(_stretches(world, result))
    with progress.step("predicting every match", total=len(world.kickoff)) as advance:
        for stretch in stretches:
            for start in range(stretch.rows.start, stretch.rows.stop, _CHUNK_ROWS):
                rows = slice(start, min(start + _CHUNK_ROWS, stretch.rows.stop))
                probabilities[rows] = predict(stretch.fit, world, rows)
                advance(rows.stop - rows.start)
    return _table(world, probabilities, stretches, result)


def predict(model: Fit, world: World, chosen: slice | npt.NDArray[np.bool_]) -> Probabilities:
    """Probabilities of the chosen matches by one model."""
    return predict_proba(model.booster, model.rows(world.features[chosen]))


def _stretches(world: World, result: "TrainingResult") -> Iterator[_Stretch]:
    """The periods in order of time; what no model precedes is predicted by the first, and said to be in its sample."""
    edges = [*(block.trained_until for block in result.walk), result.trained_until]
    cuts = [int(np.searchsorted(world.kickoff, instant(edge), side="left")) for edge in edges]
    champion = result.champion_fit
    if result.walk:
        first = result.walk[0]
        yield _Stretch(slice(0, cuts[0]), first.fit, first.version, "walk-forward", in_sample=True)
    else:
        yield _Stretch(slice(0, cuts[0]), champion, result.champion.version, "champion", in_sample=True)
    for block, start, end in zip(result.walk, cuts, cuts[1:], strict=False):
        yield _Stretch(slice(start, end), block.fit, block.version, "walk-forward", in_sample=False)
    yield _Stretch(slice(cuts[-1], len(world.kickoff)), champion, result.champion.version, "champion", in_sample=False)


def _table(world: World, probabilities: Probabilities, stretches: list[_Stretch], result: "TrainingResult") -> pa.Table:
    n = len(probabilities)
    lengths = [stretch.rows.stop - stretch.rows.start for stretch in stretches]
    return pa.table(
        {
            "match_id": world.matches["match_id"],
            "proba_home": probabilities[:, 0],
            "proba_draw": probabilities[:, 1],
            "proba_away": probabilities[:, 2],
            "predicted_class": pa.array(probabilities.argmax(axis=1).astype(np.int8)),
            "model_name": pa.array([result.champion.name] * n),
            "model_version": pa.array(np.repeat([stretch.version for stretch in stretches], lengths)),
            "model_stage": pa.array(np.repeat([stretch.stage for stretch in stretches], lengths)),
            "model_run_id": pa.array([result.champion.run_id] * n),
            "in_sample": pa.array(np.repeat([stretch.in_sample for stretch in stretches], lengths)),
        }
    )
