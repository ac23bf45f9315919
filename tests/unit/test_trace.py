"""traceparent as W3C writes it."""

import subprocess
import sys

import pytest

from app.telemetry.export import open_export
from app.telemetry.tracing import begin_trace, parse_traceparent

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE_ID}-{SPAN_ID}-01"


def test_request_is_a_span_below_its_caller() -> None:
    trace = begin_trace(GIVEN, share=0.0)
    assert (trace.trace_id, trace.parent_id, trace.is_sampled) == (TRACE_ID, SPAN_ID, True)
    assert trace.span_id not in {SPAN_ID, begin_trace(GIVEN, share=0.0).span_id}
    assert parse_traceparent(trace.header) is not None
    assert trace.child().parent_id == trace.span_id


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        GIVEN.upper(),
        GIVEN + "-more",
        GIVEN + "\n",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01",
    ],
)
def test_what_is_malformed_is_ignored(header: str) -> None:
    assert parse_traceparent(header) is None
    trace = begin_trace(header, share=1.0)
    assert (trace.parent_id, trace.is_sampled) == (None, True)
    assert trace.trace_id != TRACE_ID


def test_later_versions_may_say_more_and_flags_are_bits() -> None:
    later = parse_traceparent(f"01-{TRACE_ID}-{SPAN_ID}-03-more")
    assert later is not None
    assert later.is_sampled
    unsampled = parse_traceparent(f"00-{TRACE_ID}-{SPAN_ID}-02")
    assert unsampled is not None
    assert not unsampled.is_sampled


def test_share_of_traces_that_begin_here_is_sampled() -> None:
    assert not any(begin_trace(None, share=0.0).is_sampled for _ in range(50))
    assert all(begin_trace(None, share=1.0).is_sampled for _ in range(50))


@pytest.mark.timeout(600)  # a process that imports MLflow
def test_no_opentelemetry_unless_it_is_asked_for() -> None:
    assert open_export(None, "touchline-api") is None
    loaded = "import sys, app.main, worker.main; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False, timeout=60).returncode == 0
