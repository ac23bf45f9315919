"""JSON of the jobs and answers in Redis, in arq's own envelope and never a pickle."""

from base64 import b64decode, b64encode
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson
from arq.jobs import serialize_job

from app.queue.jobs import (
    Contribution,
    Heartbeat,
    Job,
    ModelInfo,
    Payload,
    PredictJob,
    PredictResult,
    TaskJob,
    WorkerState,
)

loads = orjson.loads


def dumps(value: Any) -> bytes:
    """Serialise for Redis."""
    return orjson.dumps(value)


def job_payload(job: PredictJob) -> Payload:
    """The one argument of `predict_match`."""
    return {
        "match_id": job.match_id,
        "alias": job.alias,
        "features": b64encode(job.features).decode(),
        "feature_set": job.feature_set,
        "snapshot_id": job.snapshot_id,
        "features_computed_at": job.features_computed_at,
        "request_id": job.request_id,
        "deadline_at": job.deadline_at,
        "explain": job.explain,
        "traceparent": job.traceparent,
    }


def decode_job(payload: Payload) -> PredictJob:
    """Read a job; KeyError, TypeError or ValueError when it is none."""
    return PredictJob(
        match_id=int(payload["match_id"]),
        alias=str(payload["alias"]),
        features=b64decode(payload["features"], validate=True),
        feature_set=str(payload["feature_set"]),
        snapshot_id=str(payload["snapshot_id"]),
        features_computed_at=str(payload["features_computed_at"]),
        request_id=str(payload.get("request_id", "")),
        deadline_at=float(payload["deadline_at"]),
        explain=bool(payload.get("explain", False)),
        traceparent=str(payload.get("traceparent", "")),
    )


def decode_task_job(payload: Payload) -> TaskJob:
    """What of a job is kept beside its answer."""
    return TaskJob(
        match_id=int(payload["match_id"]),
        alias=str(payload["alias"]),
        snapshot_id=str(payload["snapshot_id"]),
        features_computed_at=str(payload["features_computed_at"]),
        explain=bool(payload.get("explain", False)),
    )


def encode_job(job: PredictJob, enqueued_ms: int) -> bytes:
    """The job as arq stores it."""
    return serialize_job(Job.PREDICT_MATCH, (job_payload(job),), {}, None, enqueued_ms, serializer=dumps)


def result_payload(result: PredictResult) -> Payload:
    """What `predict_match` returns."""
    contributions = result.contributions
    # not dataclasses.asdict: it copies deeply, at five times the price
    return {
        "proba": result.proba,
        "model_name": result.model_name,
        "model_version": result.model_version,
        "alias": result.alias,
        "run_id": result.run_id,
        "computed_at": result.computed_at.isoformat(),
        "inference_ms": result.inference_ms,
        "queue_ms": result.queue_ms,
        "contributions": None if contributions is None else [asdict(each) for each in contributions],
    }


def decode_result(payload: Payload) -> PredictResult:
    """Read an answer."""
    home, draw, away = payload["proba"]
    contributions = payload.get("contributions")
    return PredictResult(
        proba=(home, draw, away),
        model_name=payload["model_name"],
        model_version=payload["model_version"],
        alias=payload["alias"],
        run_id=payload["run_id"],
        computed_at=datetime.fromisoformat(payload["computed_at"]),
        inference_ms=payload["inference_ms"],
        queue_ms=payload["queue_ms"],
        contributions=None if contributions is None else [Contribution(**row) for row in contributions],
    )


def decode_heartbeat(raw: bytes) -> Heartbeat:
    """Read what a worker said of itself."""
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
    """The name of an ordered set of feature names: a hash, so that the same order has the same name anywhere."""
    return blake2b("\n".join(names).encode(), digest_size=12).hexdigest()


def derive_task_id(queue_name: str, job: PredictJob, versions: frozenset[str]) -> str:
    """The task of a question: the same for the same match, row, model versions and wish to explain.

    The queue's name takes part because arq keeps the jobs of all queues under the same keys.
    """
    digest = blake2b(job.features, digest_size=16)
    for part in (queue_name, job.feature_set, job.alias, str(job.explain), *sorted(versions)):
        digest.update(part.encode() + b"\0")
    return f"predict:{job.match_id}:{digest.hexdigest()}"
