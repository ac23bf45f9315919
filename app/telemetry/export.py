"""Sends spans to an OpenTelemetry collector; the only importer of opentelemetry, and only when one is configured."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from app import __version__
from app.telemetry.tracing import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

log = structlog.get_logger(__name__)

PATH = "/v1/traces"
_NEEDED = "opentelemetry.exporter.otlp.proto.http"


def open_export(endpoint: str | None, service: str, *, headers: str = "") -> "SpanExport | None":
    """Where spans go; None when no collector is configured, or the extra `traces` is not installed, which is said."""
    if endpoint is None:
        return None
    if not _is_installed():
        log.error("no traces: OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra `traces` is not installed")
        return None
    return SpanExport(endpoint, service, headers=headers)


def _is_installed() -> bool:
    try:
        return find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        return False


class SpanExport:
    """Sends in the background, in batches; what cannot be sent is dropped, and nobody waits."""

    def __init__(self, endpoint: str, service: str, *, headers: str = "") -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._resource = Resource.create({"service.name": service, "service.version": __version__})
        url = endpoint.rstrip("/") + PATH
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=url, headers=_pairs(headers)))

    def record(self, span: Span) -> None:
        """Send a span, if its trace is sampled."""
        if span.trace.is_sampled:
            self._processor.on_end(self._readable(span))

    def flush(self) -> None:
        """Send what waits; blocks."""
        self._processor.force_flush()

    def close(self) -> None:
        """Send what waits and end; blocks."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own

    def _readable(self, span: Span) -> "ReadableSpan":
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415

        trace = span.trace
        return ReadableSpan(
            name=span.name,
            context=_context(trace.trace_id, trace.span_id),
            parent=_context(trace.trace_id, trace.parent_id) if trace.parent_id else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=SpanKind[span.kind.value],
            status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET),
            start_time=round(span.started_s * 1e9),
            end_time=round(span.ended_s * 1e9),
        )


def _context(trace_id: str, span_id: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _pairs(headers: str) -> dict[str, str]:
    """`name=value,name=value`, as OTEL_EXPORTER_OTLP_HEADERS writes it."""
    pairs = (part.partition("=") for part in headers.split(",") if part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
