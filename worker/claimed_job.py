"""A job that a worker has claimed, and the answers it can be given."""

from time import time
from typing import Any

import orjson
from arq.jobs import serialize_result

from app.errors import PredictionFailed
from app.queue.failures import failure_payload
from app.queue.jobs import Payload
from app.queue.serialization import dumps
from app.telemetry.tracing import parse_traceparent
from worker.leases import Answer, Claim, announcement
from worker.tasks import BatchItem


class ClaimedJob:
    """A claimed job, read."""

    def __init__(self, claim: Claim, job: Payload, queue_name: str) -> None:
        self.claim = claim
        self.name: str = job["f"]
        self.args: list[Any] = job["a"]
        self.kwargs: Payload = job["k"]
        self.enqueued_ms: int = job["et"]
        self._queue_name = queue_name

    def context(self) -> dict[str, str]:
        """Whose job it is, for the log: the request and the trace that asked."""
        payload = self.args[0] if self.args and isinstance(self.args[0], dict) else {}
        trace = parse_traceparent(str(payload.get("traceparent", "")))
        known = {"request_id": str(payload.get("request_id", "")), "trace_id": trace.trace_id if trace else ""}
        return {name: value for name, value in known.items() if value}

    def call(self) -> BatchItem:
        """The job as a batch takes it."""
        payload = dict(self.args[0]) if self.args and isinstance(self.args[0], dict) else {}
        if self.claim.deadline_at is not None:
            payload["deadline_at"] = self.claim.deadline_at  # a later caller may wait longer than the first
        return BatchItem(payload, self.enqueued_ms / 1000, self.claim.job_id)

    def answer(self, returned: Payload, started_ms: int, *, success: bool, dead_letter: bytes = b"") -> Answer:
        """What is handed in and announced when it has ended like this."""
        body = dumps(returned)
        result = _result(self, orjson.Fragment(body), started_ms, success=success)
        return Answer(self.claim.job_id, result, announcement(self.claim.job_id, body, success=success), dead_letter)

    def dead(self, reason: str, now_ms: int) -> Answer:
        """What is handed in when it is given up: its failure, and a letter for whoever wants to retry it."""
        failure = failure_payload(PredictionFailed(reason))
        letter = dumps({"job_id": self.claim.job_id, "reason": reason, "at_ms": now_ms, "f": self.name, "a": self.args})
        return self.answer(failure, now_ms, success=False, dead_letter=letter)

    def kept_args(self) -> tuple[Any, ...]:
        """The arguments without the feature row, which would be nine tenths of every result."""
        return tuple(
            {name: value for name, value in arg.items() if name != "features"} if isinstance(arg, dict) else arg
            for arg in self.args
        )

    @property
    def queue_name(self) -> str:
        """The queue it came from."""
        return self._queue_name


def _result(job: ClaimedJob, returned: orjson.Fragment, started_ms: int, *, success: bool) -> bytes:
    """The result as arq writes it."""
    result = serialize_result(
        job.name,
        job.kept_args(),
        job.kwargs,
        job.claim.job_try,
        job.enqueued_ms,
        success,
        returned,
        started_ms,
        round(time() * 1000),
        job.claim.job_id,
        job.queue_name,
        job.claim.job_id,
        serializer=dumps,
    )
    assert result is not None  # noqa: S101  # dumps of JSON's own types does not fail
    return result


def lost_answer(claim: Claim, queue_name: str) -> Answer:
    """The answer to a job whose body is gone or cannot be read."""
    body: Payload = {"f": "unknown", "a": [], "k": {}, "et": round(time() * 1000)}
    failure = failure_payload(PredictionFailed("The job expired, or its body cannot be read."))
    return ClaimedJob(claim, body, queue_name).answer(failure, body["et"], success=False)
