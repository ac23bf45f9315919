"""What the workers do."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any

import numpy as np

from app.errors import FeaturesMismatch, PredictionFailed, PredictionTimeout, ServiceError
from app.queue.failures import failure_payload
from app.queue.jobs import Contribution, Payload, PredictJob, PredictResult
from app.queue.serialization import decode_job, result_payload
from worker.features import FeatureSets
from worker.inference import Probabilities, Rows
from worker.model_manager import ModelManager
from worker.predictors import LoadedModel

Context = dict[Any, Any]
Outcome = Payload | Exception  # an answer or an expected failure, or a bug, which is tried again


@dataclass(frozen=True, slots=True)
class PredictionContext:
    """What predicting takes; one per worker process, under `DESK` in arq's context."""

    shelf: ModelManager
    features: FeatureSets
    thread: Executor


DESK = "desk"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One job as it was enqueued."""

    payload: Payload
    enqueued_at: float  # unix seconds
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class _Question:
    place: int
    job: PredictJob
    model: LoadedModel
    row: Rows
    enqueued_at: float


async def predict_match(ctx: Context, payload: Payload) -> Payload:
    """Predict one match: the way of a stock arq worker."""
    enqueued_at = ctx["enqueue_time"].timestamp() if "enqueue_time" in ctx else time()
    (outcome,) = await predict_batch(ctx, [BatchItem(payload, enqueued_at)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def predict_batch(ctx: Context, calls: Sequence[BatchItem]) -> list[Outcome]:
    """Predict many matches: one computation per model; a job that fails does not fail the others."""
    desk: PredictionContext = ctx[DESK]
    outcomes: list[Outcome] = [{} for _ in calls]
    groups: dict[int, list[_Question]] = {}
    for place, call in enumerate(calls):
        try:
            question = await _question(desk, place, call)
        except ServiceError as error:
            outcomes[place] = failure_payload(error)
        else:
            groups.setdefault(id(question.model), []).append(question)
    for questions in groups.values():
        for question, outcome in await _compute(desk, questions):
            outcomes[question.place] = outcome
    return outcomes


async def _question(desk: PredictionContext, place: int, call: BatchItem) -> _Question:
    try:
        job = decode_job(call.payload)
    except (KeyError, TypeError, ValueError) as error:
        raise PredictionFailed(f"The job is malformed: {type(error).__name__}: {error}") from error
    if job.deadline_at < time():
        raise PredictionTimeout("The deadline passed before a worker was free; nothing was computed.")
    model = desk.shelf.get(job.alias)
    announced = await desk.features.names(job.feature_set)
    if len(job.features) != 4 * len(announced):
        raise FeaturesMismatch(f"The feature row has {len(job.features)} bytes for {len(announced)} float32 values.")
    row = np.frombuffer(job.features, dtype="<f4")[model.columns(job.feature_set, announced)]
    return _Question(place, job, model, row, call.enqueued_at)


async def _compute(desk: PredictionContext, questions: list[_Question]) -> list[tuple[_Question, Outcome]]:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(desk.thread, _compute_group, questions)


def _compute_group(questions: list[_Question]) -> list[tuple[_Question, Outcome]]:
    """All in one call; when that fails, each alone, so that the one at fault is found."""
    started_at, start = time(), perf_counter()
    model = questions[0].model
    rows = np.stack([question.row for question in questions])
    try:
        probabilities = model.predictor.probabilities(rows)
    except Exception as error:  # noqa: BLE001  # handed on as the job's outcome
        if len(questions) == 1:
            return [(questions[0], _failure(error))]
        return [pair for question in questions for pair in _compute_group([question])]
    inference_ms = (perf_counter() - start) * 1000
    return [
        (question, _answer(question, probability, started_at, inference_ms))
        for question, probability in zip(questions, probabilities, strict=True)
    ]


def _answer(question: _Question, probability: Probabilities, started_at: float, inference_ms: float) -> Outcome:
    try:
        contributions = _contributions(question)
    except Exception as error:  # noqa: BLE001  # handed on as the job's outcome
        return _failure(error)
    info = question.model.info
    home, draw, away = probability.tolist()
    return result_payload(
        PredictResult(
            proba=(home, draw, away),
            model_name=info.name,
            model_version=info.version,
            alias=info.alias,
            run_id=info.run_id,
            computed_at=datetime.now(UTC),
            inference_ms=round(inference_ms, 3),
            queue_ms=round(max(started_at - question.enqueued_at, 0.0) * 1000, 3),
            contributions=contributions,
        )
    )


def _contributions(question: _Question) -> list[Contribution] | None:
    return question.model.explain(question.row[np.newaxis])[0] if question.job.explain else None


def _failure(error: Exception) -> Outcome:
    return failure_payload(error) if isinstance(error, ServiceError) else error
