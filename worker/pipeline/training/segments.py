"""Predict every match with the model whose period it falls in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from worker.inference import Probabilities
from worker.pipeline.progress import Progress
from worker.pipeline.training.fitting import Dataset, Fit, instant
from worker.pipeline.training.training import TrainingResult

_CHUNK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class _Segment:
    """Neighbouring matches that one model predicts."""

    rows: slice
    fit: Fit
    version: str
    stage: str
    in_sample: bool


def predict_all(matches: Path, features: Path, result: TrainingResult, progress: Progress) -> pa.Table:
    """Probabilities for every match, each from the model whose period it falls in, in the order of `matches`."""
    dataset = Dataset.read(matches, features)
    probabilities = np.empty((len(dataset.kickoff), 3))
    segments = list(_list_segments(dataset, result))
    with progress.step("predicting every match", total=len(dataset.kickoff)) as advance:
        for segment in segments:
            for start in range(segment.rows.start, segment.rows.stop, _CHUNK_ROWS):
                rows = slice(start, min(start + _CHUNK_ROWS, segment.rows.stop))
                probabilities[rows] = segment.fit.predict(dataset.features[rows])
                advance(rows.stop - rows.start)
    return _table(dataset, probabilities, segments, result)


def _list_segments(dataset: Dataset, result: TrainingResult) -> Iterator[_Segment]:
    """The periods in order of time; what no model precedes is predicted by the first, and said to be in its sample."""
    edges = [*(block.trained_until for block in result.walk), result.trained_until]
    cuts = [int(np.searchsorted(dataset.kickoff, instant(edge), side="left")) for edge in edges]
    champion = result.champion_fit
    if result.walk:
        first = result.walk[0]
        yield _Segment(slice(0, cuts[0]), first.fit, first.version, "walk-forward", in_sample=True)
    else:
        yield _Segment(slice(0, cuts[0]), champion, result.champion.version, "champion", in_sample=True)
    for block, start, end in zip(result.walk, cuts, cuts[1:], strict=False):
        yield _Segment(slice(start, end), block.fit, block.version, "walk-forward", in_sample=False)
    yield _Segment(
        slice(cuts[-1], len(dataset.kickoff)), champion, result.champion.version, "champion", in_sample=False
    )


def _table(
    dataset: Dataset, probabilities: Probabilities, segments: list[_Segment], result: TrainingResult
) -> pa.Table:
    n = len(probabilities)
    lengths = [segment.rows.stop - segment.rows.start for segment in segments]
    return pa.table(
        {
            "match_id": dataset.matches["match_id"],
            "proba_home": probabilities[:, 0],
            "proba_draw": probabilities[:, 1],
            "proba_away": probabilities[:, 2],
            "predicted_class": pa.array(probabilities.argmax(axis=1).astype(np.int8)),
            "model_name": pa.array([result.champion.name] * n),
            "model_version": pa.array(np.repeat([segment.version for segment in segments], lengths)),
            "model_stage": pa.array(np.repeat([segment.stage for segment in segments], lengths)),
            "model_run_id": pa.array([result.champion.run_id] * n),
            "in_sample": pa.array(np.repeat([segment.in_sample for segment in segments], lengths)),
        }
    )
