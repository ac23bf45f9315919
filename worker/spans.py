"""The spans of a job: how long it waited in the queue, and how long the model took.

Alone because nothing else knows both jobs and traces.
"""

from collections.abc import Iterator, Sequence

from app.queue.jobs import PredictionRequest, PredictionResult
from app.telemetry.tracing import Kind, Span, parse_traceparent
from worker.leases import Outcome


def job_spans(requests: Sequence[PredictionRequest], outcomes: Sequence[Outcome]) -> Iterator[Span]:
    """Yield the spans of answered requests that came with a trace."""
    for request, outcome in zip(requests, outcomes, strict=False):
        trace = parse_traceparent(request.traceparent)
        if trace is not None and isinstance(outcome, PredictionResult):
            claimed_at = request.enqueued_at + outcome.queue_ms / 1000
            about = {"task_id": request.task_id, "request_id": request.request_id}
            yield Span("queue wait", trace.child(), Kind.CONSUMER, request.enqueued_at, claimed_at, about)
            model = {"model.alias": outcome.alias, "model.version": outcome.model_version}
            ended_at = claimed_at + outcome.inference_ms / 1000
            yield Span("inference", trace.child(), Kind.INTERNAL, claimed_at, ended_at, about | model)
