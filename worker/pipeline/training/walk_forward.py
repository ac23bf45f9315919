"""Walk-forward: older matches are predicted by models that knew only earlier ones."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import xgboost as xgb

from worker.pipeline.features.form import feature_names
from worker.pipeline.progress import Progress
from worker.pipeline.training.fitting import Dataset, Fit, Recipe, fit

# blocks between the first match and the champion's period
_PARTS = 6
_FEWEST_MATCHES = 500
# a first block trained on less of the whole has seen little more than how ratings begin
_SMALLEST_SHARE = 0.05
_YEAR = timedelta(days=365.25)


@dataclass(frozen=True, slots=True)
class TrainingBlock:
    """A model of the walk: it predicts from the moment its training ends up to the next block's."""

    fit: Fit

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


def walk_recipe() -> Recipe:
    """What the walk's models see: Elo, rest, and form over two of the windows; nearly as good, many times faster."""
    form = tuple(name for name in feature_names() if name.startswith("form_") and name.split("_")[-2] in ("5", "12"))
    columns = ("elo_home", "elo_away", "elo_diff", *(name for name in form if name.endswith("_diff")), "rest_days_diff")
    return Recipe(columns=columns, rounds=250)


def fit_blocks(dataset: Dataset, champion_from: datetime, progress: Progress) -> tuple[TrainingBlock, ...]:
    """Models for the time before the champion's, each trained only on what came before its block."""
    starts = block_starts(dataset, champion_from)
    with progress.step("walk-forward models", total=len(starts)) as advance:
        blocks = []
        for start in starts:
            blocks.append(TrainingBlock(fit(dataset, walk_recipe(), start)))
            advance(1)
    return tuple(blocks)


def block_starts(dataset: Dataset, champion_from: datetime) -> list[datetime]:
    """Where blocks begin: whole years before the champion's period, as far back as there is something to train on."""
    first = dataset.kickoff[0].astype("datetime64[us]").item().replace(tzinfo=UTC)
    step = max(1, -(-(champion_from - first) // (_PARTS * _YEAR)))
    years = range(champion_from.year - step, first.year, -step)
    starts = [champion_from.replace(year=year) for year in years]
    fewest = max(_FEWEST_MATCHES, _SMALLEST_SHARE * len(dataset.kickoff))
    return sorted(start for start in starts if dataset.select_played(None, start).sum() >= fewest)
