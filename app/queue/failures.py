"""Expected failures of a prediction, as data between the processes."""

from app.errors import (
    ExplanationUnavailable,
    FeaturesMismatch,
    ModelNotFound,
    PredictionFailed,
    PredictionTimeout,
    QueueUnavailable,
    ServiceError,
)
from app.queue.jobs import Payload

_TYPES: dict[str, type[ServiceError]] = {
    error.code: error
    for error in (ExplanationUnavailable, FeaturesMismatch, ModelNotFound, PredictionFailed, PredictionTimeout)
}


REDIS_BACK_S = 2.0


def unavailable(error: Exception) -> QueueUnavailable:
    """What callers are told when Redis does not answer: an error's own text may hold an address."""
    return QueueUnavailable(f"Redis cannot be reached ({type(error).__name__}).", retry_after_s=REDIS_BACK_S)


def failure_payload(error: ServiceError) -> Payload:
    """A failure as a worker returns it."""
    return {"error": error.code, "detail": error.detail}


def failure_of(payload: Payload, task_id: str) -> ServiceError:
    """The failure as the API raises it."""
    error = _TYPES.get(payload["error"], PredictionFailed)
    return error(str(payload.get("detail", "")), task_id=task_id)


def outcome_of(success: bool, returned: object) -> Payload:  # noqa: FBT001  # arq's own pair of fields
    """What a job came to: its answer or a failure, also when a stock arq worker ran it."""
    if success and isinstance(returned, dict):
        return returned
    if isinstance(returned, dict) and "error" in returned:
        return returned
    return {"error": PredictionFailed.code, "detail": str(returned)}
