"""The spans of a job: how long it waited in the queue, and how long the model took."""

from collections.abc import Iterator, Sequence

from app.telemetry.tracing import Kind, Span, parse_traceparent
from worker.tasks import BatchItem, Outcome


def job_spans(calls: Sequence[BatchItem], outcomes: Sequence[Outcome]) -> Iterator[Span]:
    """Those of answered jobs that came with a trace."""
    for call, outcome in zip(calls, outcomes, strict=False):
        asked = parse_traceparent(str(call.payload.get("traceparent", "")))
        if asked is not None and isinstance(outcome, dict) and "proba" in outcome:
            taken_s = call.enqueued_at + outcome["queue_ms"] / 1000
            about = {"task_id": call.task_id, "request_id": str(call.payload.get("request_id", ""))}
            yield Span("queue wait", asked.child(), Kind.CONSUMER, call.enqueued_at, taken_s, about)
            model = {"model.alias": outcome["alias"], "model.version": outcome["model_version"]}
            ended_s = taken_s + outcome["inference_ms"] / 1000
            yield Span("inference", asked.child(), Kind.INTERNAL, taken_s, ended_s, about | model)
