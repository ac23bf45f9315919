"""What the workers do."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any

import numpy as np
from arq.connections import ArqRedis

from app.errors import FeaturesMismatch, PredictionTimeout, ServiceError
from app.queue.jobs import Payload, PredictionRequest, PredictionResult
from app.queue.redis_keys import BATCH_MAX, RedisKeys
from app.queue.serialization import decode_request, loads, result_payload
from worker.inference import Probabilities, Rows
from worker.leases import Outcome
from worker.model_manager import ModelManager
from worker.predictors import LoadedModel

Context = dict[Any, Any]
FEATURE_SETS_MAX = 64  # they change with the pipeline's code, not with its data


def batch_limit(ctx: Context) -> int:
    """Return how many jobs a batch may have: a call of XGBoost, or of any other model, has a high fixed price."""
    context: PredictionContext = ctx[CONTEXT]
    is_quick = all(model.predictor.quick_rows for model in context.models.models)
    return BATCH_MAX if is_quick else 2 * BATCH_MAX


class FeatureSets:
    """Ordered feature names by the name of their set, as the API announced them."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._names = names
        self._known: dict[str, tuple[str, ...]] = {}

    async def names(self, feature_set: str) -> tuple[str, ...]:
        """Return the columns of a feature set; FeaturesMismatch when nobody announced it."""
        if feature_set not in self._known:
            raw = await self._redis.get(self._names.features(feature_set))
            if raw is None:
                raise FeaturesMismatch(f"Nobody announced the columns of feature set {feature_set!r}.")
            if len(self._known) >= FEATURE_SETS_MAX:
                self._known.clear()
            self._known[feature_set] = tuple(loads(raw))
        return self._known[feature_set]


@dataclass(frozen=True, slots=True)
class PredictionContext:
    """What predicting takes; one per worker process, under `CONTEXT` in arq's context."""

    models: ModelManager
    features: FeatureSets
    thread: Executor
    may_use_loop: bool = True  # for batches that take about a millisecond; a thread would double that


CONTEXT = "prediction_context"


@dataclass(slots=True)
class ModelBatch:
    """The requests of a batch that one model answers, and their places in it."""

    model: LoadedModel
    places: list[int] = field(default_factory=list)
    requests: list[PredictionRequest] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)

    @property
    def is_quick(self) -> bool:
        """Whether it may be computed on the event loop; an explanation takes XGBoost milliseconds."""
        n_quick = self.model.predictor.quick_rows
        return len(self.requests) <= n_quick and not any(request.explain for request in self.requests)


async def predict_match(ctx: Context, payload: Payload) -> Payload:
    """Predict one match: the way of a stock arq worker."""
    seconds, microseconds = await ctx["redis"].time()
    redis_now = seconds + microseconds / 1e6
    enqueued_at = ctx["enqueue_time"].timestamp() if "enqueue_time" in ctx else redis_now
    try:
        request = decode_request(payload, enqueued_at=enqueued_at, offset_s=redis_now - time())
    except ServiceError as error:
        return result_payload(error)
    (outcome,) = await predict_batch(ctx, [request])
    if isinstance(outcome, PredictionResult | ServiceError):
        return result_payload(outcome)
    raise outcome


async def predict_batch(ctx: Context, requests: Sequence[PredictionRequest]) -> list[Outcome]:
    """Predict many matches: one computation per model; a request that fails does not fail the others."""
    context: PredictionContext = ctx[CONTEXT]
    outcomes: dict[int, Outcome] = {}
    batches: dict[int, ModelBatch] = {}
    for place, request in enumerate(requests):
        try:
            model, row = await _find_row(context, request)
        except ServiceError as error:
            outcomes[place] = error
        else:
            batch = batches.setdefault(id(model), ModelBatch(model))
            batch.places.append(place)
            batch.requests.append(request)
            batch.rows.append(row)
    loop = asyncio.get_running_loop()
    for batch in batches.values():
        if context.may_use_loop and batch.is_quick:
            computed = _compute(batch.model, batch.requests, batch.rows)
        else:
            computed = await loop.run_in_executor(context.thread, _compute, batch.model, batch.requests, batch.rows)
        outcomes.update(zip(batch.places, computed, strict=True))
    return [outcomes[place] for place in range(len(requests))]


async def _find_row(context: PredictionContext, request: PredictionRequest) -> tuple[LoadedModel, Rows]:
    """Return the model of a request, and the feature row in the order of its signature."""
    if request.deadline_at < time():
        raise PredictionTimeout("The deadline passed before a worker was free; nothing was computed.")
    model = context.models.get(request.alias)
    announced = await context.features.names(request.feature_set)
    if len(request.features) != 4 * len(announced):
        n_bytes = len(request.features)
        raise FeaturesMismatch(f"The feature row has {n_bytes} bytes for {len(announced)} float32 values.")
    return model, np.frombuffer(request.features, dtype="<f4")[model.columns(request.feature_set, announced)]


def _compute(model: LoadedModel, requests: Sequence[PredictionRequest], rows: Sequence[Rows]) -> list[Outcome]:
    """Compute all in one call; when that fails, each alone, so that the one at fault is found."""
    started_at, start = time(), perf_counter()
    try:
        probabilities = model.predictor.probabilities(np.stack(rows))
    except Exception as error:  # noqa: BLE001  # handed on as the outcome
        if len(requests) == 1:
            return [error]
        return [_compute(model, [request], [row])[0] for request, row in zip(requests, rows, strict=True)]
    inference_ms = round((perf_counter() - start) * 1000, 3)
    return [
        _result(model, request, row, probability, started_at, inference_ms)
        for request, row, probability in zip(requests, rows, probabilities, strict=True)
    ]


def _result(  # noqa: PLR0913, PLR0917  # what a result is made of
    model: LoadedModel,
    request: PredictionRequest,
    row: Rows,
    probability: Probabilities,
    started_at: float,
    inference_ms: float,
) -> Outcome:
    try:
        contributions = model.explain(row[np.newaxis])[0] if request.explain else None
    except Exception as error:  # noqa: BLE001  # handed on as the outcome
        return error
    home, draw, away = probability.tolist()
    return PredictionResult(
        proba=(home, draw, away),
        model_name=model.info.name,
        model_version=model.info.version,
        alias=model.info.alias,
        run_id=model.info.run_id,
        computed_at=datetime.now(UTC),
        inference_ms=inference_ms,
        queue_ms=round(max(started_at - request.enqueued_at, 0.0) * 1000, 3),
        contributions=contributions,
        task_id=request.task_id,
    )
