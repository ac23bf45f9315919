"""JSON of requests, results and heartbeats in Redis, in arq's own envelope and never a pickle."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson
from arq.jobs import serialize_job

from app.errors import (
    ExplanationUnavailable,
    FeaturesMismatch,
    ModelNotFound,
    PredictionFailed,
    PredictionTimeout,
    ServiceError,
)
from app.queue.jobs import (
    Contribution,
    Heartbeat,
    Job,
    ModelInfo,
    Payload,
    PredictionRequest,
    PredictionResult,
    WorkerState,
)

loads = orjson.loads
dumps: Callable[[Any], bytes] = orjson.dumps

_FAILURES: dict[str, type[ServiceError]] = {
    error.code: error
    for error in (ExplanationUnavailable, FeaturesMismatch, ModelNotFound, PredictionFailed, PredictionTimeout)
}


def request_payload(request: PredictionRequest, *, offset_s: float = 0.0) -> Payload:
    """Return the one argument of `predict_match`; `offset_s` is how far the clock of Redis is ahead of ours."""
    return {
        "match_id": request.match_id,
        "alias": request.alias,
        "features": b64encode(request.features).decode(),
        "feature_set": request.feature_set,
        "snapshot_id": request.snapshot_id,
        "features_computed_at": request.features_computed_at,
        "request_id": request.request_id,
        "deadline_at": request.deadline_at + offset_s,
        "explain": request.explain,
        "traceparent": request.traceparent,
    }


def encode_request(request: PredictionRequest, enqueued_ms: int, *, offset_s: float = 0.0) -> bytes:
    """Return the job as arq stores it; its times are those of Redis."""
    args = (request_payload(request, offset_s=offset_s),)
    return serialize_job(Job.PREDICT_MATCH, args, {}, None, enqueued_ms, serializer=dumps)


def decode_request(
    payload: Payload,
    *,
    task_id: str = "",
    enqueued_at: float = 0.0,
    deadline_at: float | None = None,
    offset_s: float = 0.0,
) -> PredictionRequest:
    """Read a request; PredictionFailed when it is none. A `deadline_at` takes the place of its own.

    Times are those of Redis in Redis and this host's own in the request; `offset_s` is how far Redis is ahead.
    """
    try:
        return PredictionRequest(
            match_id=int(payload["match_id"]),
            alias=str(payload["alias"]),
            # what is kept beside a result has no feature row
            features=b64decode(payload.get("features", ""), validate=True),
            feature_set=str(payload["feature_set"]),
            snapshot_id=str(payload["snapshot_id"]),
            features_computed_at=str(payload["features_computed_at"]),
            request_id=str(payload.get("request_id", "")),
            deadline_at=float(payload["deadline_at"] if deadline_at is None else deadline_at) - offset_s,
            explain=bool(payload.get("explain", False)),
            traceparent=str(payload.get("traceparent", "")),
            task_id=task_id,
            enqueued_at=enqueued_at - offset_s,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PredictionFailed(f"The job is malformed: {type(error).__name__}: {error}") from error


def result_payload(outcome: PredictionResult | ServiceError) -> Payload:
    """Return what `predict_match` returns: a result, or an expected failure."""
    if isinstance(outcome, ServiceError):
        return {"error": outcome.code, "detail": outcome.detail}
    contributions = outcome.contributions
    # not dataclasses.asdict: it copies deeply, at five times the price
    return {
        "proba": outcome.proba,
        "model_name": outcome.model_name,
        "model_version": outcome.model_version,
        "alias": outcome.alias,
        "run_id": outcome.run_id,
        "computed_at": outcome.computed_at.isoformat(),
        "inference_ms": outcome.inference_ms,
        "queue_ms": outcome.queue_ms,
        "contributions": None if contributions is None else [asdict(each) for each in contributions],
    }


def decode_result(
    task_id: str,
    success: bool,  # noqa: FBT001  # arq's own pair of fields
    returned: object,
    *,
    is_known: bool = False,
) -> PredictionResult | ServiceError:
    """Read what a job returned, also when a stock arq worker ran it: a result, or the failure to raise."""
    if not isinstance(returned, dict) or not (success or "error" in returned):
        return PredictionFailed(str(returned), task_id=task_id)
    if "error" in returned:
        failure = _FAILURES.get(returned["error"], PredictionFailed)
        return failure(str(returned.get("detail", "")), task_id=task_id)
    try:
        home, draw, away = returned["proba"]
        contributions = returned.get("contributions")
        return PredictionResult(
            proba=(home, draw, away),
            model_name=returned["model_name"],
            model_version=returned["model_version"],
            alias=returned["alias"],
            run_id=returned["run_id"],
            computed_at=datetime.fromisoformat(returned["computed_at"]),
            inference_ms=returned["inference_ms"],
            queue_ms=returned["queue_ms"],
            contributions=None if contributions is None else [Contribution(**row) for row in contributions],
            task_id=task_id,
            is_known=is_known,
        )
    except (KeyError, TypeError, ValueError) as error:
        return PredictionFailed(f"The result is malformed: {type(error).__name__}: {error}", task_id=task_id)


def decode_heartbeat(raw: bytes) -> Heartbeat:
    """Read what a worker reports about itself."""
    payload = loads(raw)
    worker = payload["worker"]
    times = {name: datetime.fromisoformat(worker[name]) for name in ("started_at", "last_beat_at")}
    models = [_model_info_of(model) for model in payload["models"]]
    return Heartbeat(**payload | {"worker": WorkerState(**worker | times), "models": models})


def _model_info_of(payload: Payload) -> ModelInfo:
    names = ("registered_at", "loaded_at", "trained_until")
    times = {name: datetime.fromisoformat(payload[name]) if payload[name] else None for name in names}
    return ModelInfo(**payload | times)


@lru_cache(maxsize=16)
def name_feature_set(names: tuple[str, ...]) -> str:
    """Return the name of an ordered set of feature names: a hash, the same for the same order everywhere."""
    return blake2b("\n".join(names).encode(), digest_size=12).hexdigest()


def derive_task_id(queue_name: str, request: PredictionRequest, versions: frozenset[str]) -> str:
    """Return the task of a request: the same for the same match, row, model versions and wish to explain.

    The queue's name takes part because arq keeps the jobs of all queues under the same keys.
    """
    digest = blake2b(request.features, digest_size=16)
    for part in (queue_name, request.feature_set, request.alias, str(request.explain), *sorted(versions)):
        digest.update(part.encode() + b"\0")
    return f"predict:{request.match_id}:{digest.hexdigest()}"
