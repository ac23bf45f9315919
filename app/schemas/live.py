"""Live predictions and their tasks."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, model_validator

from app.schemas.base import In, Out, Outcome, Params, ProbabilitiesOut, WholeNumber

_ALIAS_PATTERN = r"^[a-z][a-z0-9_-]{0,39}$"
DEFAULT_ALIAS = "champion"


def _alias_of_stage(values: Any) -> Any:
    """Take `stage`, the older name of `alias`, where the new one is missing."""
    if not isinstance(values, dict) or not isinstance(values.get("stage"), str):
        return values
    if values.setdefault("alias", values["stage"]) != values["stage"]:
        raise ValueError("alias and stage name different models; stage is the older name of alias")
    return values


class LiveQuery(Params):
    """How to predict."""

    alias: str = Field(DEFAULT_ALIAS, pattern=_ALIAS_PATTERN, description="alias of the model")
    explain: bool = False
    stage: str | None = Field(
        None, pattern=_ALIAS_PATTERN, description="older name of alias", json_schema_extra={"deprecated": True}
    )

    _take_stage = model_validator(mode="before")(_alias_of_stage)


class AsyncPredictIn(In):
    """A prediction to be made later."""

    match_id: WholeNumber = Field(ge=0, le=2**63 - 1)
    alias: str = Field(DEFAULT_ALIAS, pattern=_ALIAS_PATTERN, description="alias of the model")
    explain: bool = False
    stage: str | None = Field(
        None, pattern=_ALIAS_PATTERN, description="older name of alias", json_schema_extra={"deprecated": True}
    )

    _take_stage = model_validator(mode="before")(_alias_of_stage)


class ContributionOut(Out):
    """What one feature adds to the margin (log scale) of each outcome."""

    feature: str
    value: float | None
    home: float
    draw: float
    away: float


class LiveModelOut(Out):
    """The model that answered."""

    name: str
    version: str
    alias: str
    run_id: str


class TimingsOut(Out):
    """Where the time went, milliseconds."""

    features_ms: float | None = Field(description="null in a task's result: nobody waited")
    queue_ms: float
    inference_ms: float
    total_ms: float | None = Field(description="null in a task's result: nobody waited")


class LivePredictionOut(Out):
    """A live prediction and the age of everything behind it."""

    match_id: int
    probabilities: ProbabilitiesOut = Field(description="what the model says")
    market: ProbabilitiesOut | None = Field(None, description="what the bookmakers say; null without their prices")
    consensus: ProbabilitiesOut | None = Field(
        None, description="model and market together; null when the artifacts have no consensus"
    )
    predicted: Outcome
    model: LiveModelOut
    snapshot_id: str
    features_computed_at: datetime
    feature_age_s: float = Field(description="since the features were computed")
    data_until: datetime | None = Field(
        description="newest result the features know, UTC; those of a match know only what came before it; "
        "null when nobody knows any more"
    )
    odds_captured_at: datetime | None
    odds_age_s: float | None
    computed_at: datetime
    task_id: str
    timings: TimingsOut
    explanation: list[ContributionOut] | None = None


class TaskPath(Params):
    """A task."""

    task_id: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9:_.-]+$")


class TaskStatus(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class TaskOut(Out):
    """A task; `result` once it is done."""

    task_id: str
    status: TaskStatus
    result: LivePredictionOut | None = None
    error: str | None = Field(None, description="code of the failure")
    detail: str | None = None
