"""Training: the walk's models, the champion and the candidate; their scores; their place in the registry."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from worker.inference import Rows
from worker.pipeline.features.form import feature_names
from worker.pipeline.progress import Progress
from worker.pipeline.training.fitting import Dataset, Fit, Recipe, fit, instant
from worker.pipeline.training.hold_out_scores import HoldOutScores, score_hold_out
from worker.pipeline.training.walk_forward import TrainingBlock, fit_blocks

if TYPE_CHECKING:
    # the registry imports MLflow, which takes seconds
    from worker.pipeline.training.registry import ModelVersion, Provenance, TrainingRegistry

CHAMPION = "champion"
CANDIDATE = "candidate"
HOLD_OUT_YEARS = 2
_GOLDEN_ROWS = 20


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What was trained, registered and measured."""

    champion: "ModelVersion"
    candidate: "ModelVersion"
    champion_fit: Fit
    walk: tuple[TrainingBlock, ...]
    trained_until: datetime
    scores: HoldOutScores


def train(
    matches: Path, features: Path, registry: "TrainingRegistry", provenance: "Provenance", progress: Progress
) -> TrainingResult:
    """Train everything on the time before the last two seasons, score it on those, and register both models."""
    dataset = Dataset.read(matches, features)
    until = hold_out_start(dataset)
    blocks = fit_blocks(dataset, until, progress)
    fits = {}
    with progress.step("champion and candidate", total=2) as advance:
        for alias, recipe in ((CHAMPION, champion_recipe()), (CANDIDATE, candidate_recipe())):
            fits[alias] = fit(dataset, recipe, until)
            advance(1)
    with progress.step("scoring the last two seasons"):
        scores = score_hold_out(dataset, fits, until)
    with progress.step("registering models", total=len(fits)) as advance:
        versions = {}
        for alias, model in fits.items():
            golden = golden_rows(dataset, model, until)
            extras = blocks if alias == CHAMPION else ()
            boosters = {block.version: block.booster for block in extras}
            versions[alias] = registry.register(model, alias, scores.metrics(alias), provenance, golden, boosters)
            advance(1)
    return TrainingResult(versions[CHAMPION], versions[CANDIDATE], fits[CHAMPION], blocks, until, scores)


def champion_recipe() -> Recipe:
    """Everything that is known of a match."""
    return Recipe(columns=feature_names(), rounds=300)


def candidate_recipe() -> Recipe:
    """A simple rival: ratings, rest, and a little form."""
    form = ("form_goals_for_all_10_diff", "form_goals_against_all_10_diff", "form_win_venue_5_diff")
    columns = ("elo_home", "elo_away", "elo_diff", *form, "rest_days_diff")
    return Recipe(columns=columns, rounds=150)


def hold_out_start(dataset: Dataset) -> datetime:
    """Where the last two seasons of all matches begin."""
    played = dataset.kickoff[dataset.outcome >= 0]
    if not len(played):
        raise ValueError("none of the matches has a result, so there is nothing to train on")
    return hold_out_before(played.max().astype("datetime64[us]").item().replace(tzinfo=UTC))


def hold_out_before(newest: datetime) -> datetime:
    """The 1 July nearest to two years before the newest result: seasons of most leagues turn there."""
    turns = [datetime(newest.year - HOLD_OUT_YEARS + shift, 7, 1, tzinfo=UTC) for shift in (-1, 0, 1)]
    target = newest.replace(year=newest.year - HOLD_OUT_YEARS, day=min(newest.day, 28))
    return min(turns, key=lambda turn: abs(turn - target))


def golden_rows(dataset: Dataset, model: Fit, since: datetime) -> Rows:
    """Return the rows of a few matches spread over the hold-out, with empty and full ones alike."""
    first = int(np.searchsorted(dataset.kickoff, instant(since)))
    positions = np.unique(np.linspace(first, len(dataset.kickoff) - 1, _GOLDEN_ROWS).astype(np.int64))
    return model.rows(dataset.features[positions])
