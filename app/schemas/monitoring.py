"""Models, queues, workers and drift."""

from datetime import datetime

from pydantic import Field

from app.schemas.wire import Out


class ModelInfoOut(Out):
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


class ModelInfoListOut(Out):
    """The loaded models by alias."""

    items: list[ModelInfoOut]


class QueueOut(Out):
    """State of one queue."""

    name: str
    queued: int
    scheduled: int
    in_progress: int
    oldest_age_s: float | None
    dead_letters: int


class QueuesOut(Out):
    """All queues."""

    items: list[QueueOut]


class WorkerOut(Out):
    """One worker process."""

    worker_id: str
    host: str
    pid: int
    started_at: datetime
    last_beat_at: datetime
    jobs_done: int
    jobs_failed: int
    memory_mb: float
    models: dict[str, str] = Field(description="alias to version")


class WorkersOut(Out):
    """All living workers."""

    items: list[WorkerOut]


class DriftFeatureOut(Out):
    """Drift of one feature."""

    feature: str
    method: str
    score: float | None
    threshold: float | None
    drifted: bool | None


class DriftOut(Out):
    """The newest drift report and its age."""

    verdict: str
    score: float | None = Field(description="share of drifted features")
    n_features: int
    n_drifted: int
    computed_at: datetime
    age_s: float
    reference: dict[str, str | int | None]
    current: dict[str, str | int | None]
    features: list[DriftFeatureOut]
