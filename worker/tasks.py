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
    """What predicting takes; one per worker process, under `CONTEXT` in arq's context."""

    models: ModelManager
    features: FeatureSets
    thread: Executor


CONTEXT = "prediction_context"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One job as it was enqueued."""

    payload: Payload
    enqueued_at: float  # unix seconds
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class _PreparedJob:
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
    context: PredictionContext = ctx[CONTEXT]
    outcomes: list[Outcome] = [{} for _ in calls]
    groups: dict[int, list[_PreparedJob]] = {}
    for place, call in enumerate(calls):
        try:
            prepared = await _prepare_job(context, place, call)
        except ServiceError as error:
            outcomes[place] = failure_payload(error)
        else:
            groups.setdefault(id(prepared.model), []).append(prepared)
    for jobs in groups.values():
        for prepared, outcome in await _compute(context, jobs):
            outcomes[prepared.place] = outcome
    return outcomes


async def _prepare_job(context: PredictionContext, place: int, call: BatchItem) -> _PreparedJob:
    try:
        job = decode_job(call.payload)
    except (KeyError, TypeError, ValueError) as error:
        raise PredictionFailed(f"The job is malformed: {type(error).__name__}: {error}") from error
    if job.deadline_at < time():
        raise PredictionTimeout("The deadline passed before a worker was free; nothing was computed.")
    model = context.models.get(job.alias)
    announced = await context.features.names(job.feature_set)
    if len(job.features) != 4 * len(announced):
        raise FeaturesMismatch(f"The feature row has {len(job.features)} bytes for {len(announced)} float32 values.")
    row = np.frombuffer(job.features, dtype="<f4")[model.columns(job.feature_set, announced)]
    return _PreparedJob(place, job, model, row, call.enqueued_at)


async def _compute(context: PredictionContext, jobs: list[_PreparedJob]) -> list[tuple[_PreparedJob, Outcome]]:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(context.thread, _compute_group, jobs)


def _compute_group(jobs: list[_PreparedJob]) -> list[tuple[_PreparedJob, Outcome]]:
    """All in one call; when that fails, each alone, so that the one at fault is found."""
    started_at, start = time(), perf_counter()
    model = jobs[0].model
    rows = np.stack([prepared.row for prepared in jobs])
    try:
        probabilities = model.predictor.probabilities(rows)
    except Exception as error:  # noqa: BLE001  # handed on as the job's outcome
        if len(jobs) == 1:
            return [(jobs[0], _failure(error))]
        return [pair for prepared in jobs for pair in _compute_group([prepared])]
    inference_ms = (perf_counter() - start) * 1000
    return [
        (prepared, _answer(prepared, probability, started_at, inference_ms))
        for prepared, probability in zip(jobs, probabilities, strict=True)
    ]


def _answer(prepared: _PreparedJob, probability: Probabilities, started_at: float, inference_ms: float) -> Outcome:
    try:
        contributions = _contributions(prepared)
    except Exception as error:  # noqa: BLE001  # handed on as the job's outcome
        return _failure(error)
    info = prepared.model.info
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
            queue_ms=round(max(started_at - prepared.enqueued_at, 0.0) * 1000, 3),
            contributions=contributions,
        )
    )


def _contributions(prepared: _PreparedJob) -> list[Contribution] | None:
    return prepared.model.explain(prepared.row[np.newaxis])[0] if prepared.job.explain else None


def _failure(error: Exception) -> Outcome:
    return failure_payload(error) if isinstance(error, ServiceError) else error
