"""The contract between the API and the workers: names, requests and results of background work."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

Payload = dict[str, Any]


class Job(StrEnum):
    """Every kind of background work."""

    PREDICT_MATCH = "predict_match"
    CHECK_DRIFT = "check_drift"
    MOVE_ALIAS = "move_alias"


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """A request for one prediction: this feature row, that model.

    A worker adds `task_id` and `enqueued_at` when it claims the job. What is kept beside a result has no features.
    Its times are those of this host; in Redis they are those of Redis, because the clocks of two hosts differ.
    """

    match_id: int
    alias: str
    features: bytes  # little-endian float32 row, in the order of `feature_set`
    feature_set: str  # what `QueueClient.announce_features` returned
    snapshot_id: str
    features_computed_at: str
    request_id: str
    deadline_at: float  # unix seconds; later than this nobody waits and nothing is computed
    explain: bool = False
    traceparent: str = ""  # of the HTTP request, as W3C writes it
    task_id: str = ""
    enqueued_at: float = 0.0  # unix seconds


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to the margin (log scale) of each outcome."""

    feature: str
    value: float | None
    home: float
    draw: float
    away: float


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """A computed prediction; `is_known` says that it was computed for an earlier request."""

    proba: tuple[float, float, float]
    model_name: str
    model_version: str
    alias: str
    run_id: str
    computed_at: datetime
    inference_ms: float
    queue_ms: float
    contributions: list[Contribution] | None = None
    task_id: str = ""
    is_known: bool = False


class TaskStatus(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task, `result` once it is done, `error` (a code) and `detail` once it has failed."""

    task_id: str
    status: TaskStatus
    request: PredictionRequest | None = None
    result: PredictionResult | None = None
    error: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that workers hold."""

    alias: str
    name: str
    version: str
    run_id: str
    flavor: str
    registered_at: datetime | None
    loaded_at: datetime
    n_features: int
    trained_until: datetime | None
    metrics: dict[str, float]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker process."""

    worker_id: str
    host: str
    pid: int
    started_at: datetime
    last_beat_at: datetime
    jobs_done: int
    jobs_failed: int
    memory_mb: float
    models: dict[str, str]  # alias to version
    refused: dict[str, str] = field(default_factory=dict)  # alias to what it does not take, and why


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker reports about itself every second."""

    worker: WorkerState
    models: list[ModelInfo]
    ready: bool  # false while its first models load
    jobs_per_s: float
    refused: dict[str, str]  # alias to the version that was refused, and why


@dataclass(frozen=True, slots=True)
class QueueState:
    """State of one queue."""

    name: str
    queued: int
    scheduled: int
    in_progress: int
    oldest_age_s: float | None
    dead_letters: int
