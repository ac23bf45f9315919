"""Models, queues, workers and drift."""

from datetime import datetime
from typing import Literal

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
    drain_rate_per_s: float = Field(description="jobs that the workers answer each second at present")


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
    refused: dict[str, str] = Field(description="alias to the version that this worker does not take, and why")


class WorkersOut(Out):
    """All living workers."""

    items: list[WorkerOut]


class DriftFeatureOut(Out):
    """Drift of one column."""

    feature: str
    method: str = Field(description="psi: population stability index")
    score: float | None
    threshold: float | None
    drifted: bool | None = Field(description="null when it could not be compared; state says why")
    state: str | None = Field(description="compared, constant, new, vanished, too few values, no values now ...")
    missing_reference: float | None = Field(description="share of rows without a value")
    missing_current: float | None


class DriftCheckOut(Out):
    """What came of the last scheduled check."""

    state: str = Field(description="done, no_data, not_installed, out_of_memory, timed_out, failed or busy")
    detail: str
    at: datetime
    age_s: float


class DriftOut(Out):
    """The newest drift report and its age."""

    verdict: str = Field(description="stable, moderate or severe, above what chance alone gives; no data")
    summary: str = Field(description="the report in a sentence")
    state: str | None = Field(description="compared, no reference, no current matches, too few rows ...")
    score: float | None = Field(description="share of drifted features")
    share_by_chance: float | None = Field(description="share that would count as drifted if nothing had changed")
    n_features: int
    n_compared: int | None
    n_drifted: int
    computed_at: datetime
    age_s: float
    origin: Literal["artifacts", "check"] = Field(description="made by the pipeline, or by a worker's scheduled check")
    last_check: DriftCheckOut | None = Field(description="null when no worker has checked")
    reference: dict[str, str | int | None]
    current: dict[str, str | int | None]
    features: list[DriftFeatureOut] = Field(description="those that drifted most first")
    probabilities: list[DriftFeatureOut] = Field(description="the predicted ones, compared in the same way")
    probabilities_reference: dict[str, str | int | None] = Field(
        description="the earlier predictions they are compared with: of the same model where it has made enough"
    )
