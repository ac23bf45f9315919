"""One request, followed: its id and its trace through queue, worker, log, ledger and collector."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app import appkeys
from app.queue.client import QueueClient
from app.settings import Settings
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.live import Marked, MemorySource, a_job, serving
from tests.support.models import FEATURES
from tests.support.serving import Client, Serve, until
from worker.batch_worker import BatchWorker

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "X-Request-ID": "request-7"}


class Collector:
    """What an OpenTelemetry collector was sent, decoded."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.services: set[str] = set()
        self.tokens: set[str | None] = set()

    def take(self, body: bytes, token: str | None) -> None:
        self.tokens.add(token)
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {a.value.string_value for a in each.resource.attributes if a.key == "service.name"}
            self.spans |= {span.name: span for scope in each.scope_spans for span in scope.spans}


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A collector that speaks OTLP over HTTP, and its address."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            collector.take(body, self.headers.get("x-token"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


async def test_answer_passes_the_trace_on(client: Client) -> None:
    answer = await client.get("/predict/odds/", headers=GIVEN)
    assert re.fullmatch(f"00-{TRACE_ID}-[0-9a-f]{{16}}-01", answer.headers["traceparent"])
    assert SPAN_ID not in answer.headers["traceparent"]
    begun = (await client.get("/livez", headers={"traceparent": "garbage"})).headers["traceparent"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", begun)


async def test_line_of_a_request_names_request_and_trace(client: Client) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await client.get("/predict/odds/", headers=GIVEN)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["request_id"], line["trace_id"], line["path"]) == ("request-7", TRACE_ID, "/predict/odds/")
    assert {"method", "status", "duration_ms"} <= line.keys()


async def test_lines_of_the_worker_name_request_and_trace(queue: QueueClient, worker: BatchWorker) -> None:
    """The context that the job brings is there when a library's line is written, as any line's is."""
    seen: list[dict[str, Any]] = []

    class Listener:
        def filter(self, _: object) -> bool:
            seen.append(structlog.contextvars.get_contextvars())
            return True

    listener = Listener()
    log = logging.getLogger("worker.batch_worker")
    log.addFilter(listener)
    try:
        job = await a_job(
            queue, np.full(len(FEATURES), Marked.MARK), request_id="request-7", traceparent=GIVEN["traceparent"]
        )
        with pytest.raises(Exception, match="ZeroDivisionError"):
            await queue.predict(job, timeout_s=8)
    finally:
        log.removeFilter(listener)
    assert {"request_id": "request-7", "trace_id": TRACE_ID} in seen


@pytest.mark.timeout(600)
async def test_collector_gets_the_request_the_wait_and_the_inference_as_one_trace(
    serve: Serve, live_settings: Settings, shelf_source: MemorySource, tmp_path: Any
) -> None:
    folder = await asyncio.to_thread(write_artifacts, tmp_path / "live", feature_names=FEATURES)
    with collecting() as (collector, endpoint):
        traced = {"otel_exporter_otlp_endpoint": endpoint, "otel_exporter_otlp_headers": "X-Token=hunter2"}
        settings = live_settings.model_copy(update={"otel_exporter_otlp_endpoint": endpoint})
        client = await serve(
            redis_url=live_settings.redis_url,
            queue_name=live_settings.queue_name,
            model_aliases=("champion",),
            artifacts_uri=str(folder),
            **traced,
        )
        async with serving(settings, shelf_source):
            await until(lambda: is_ready(client))
            answer = await client.get(f"/predict/{FIRST_ID}", headers=GIVEN)
            assert answer.status == 200, await answer.text()
        export = client.app[appkeys.EXPORT]
        assert export is not None

        async def is_whole() -> bool:
            await asyncio.to_thread(export.flush)
            return {"GET /predict/{match_id}", "queue wait", "inference"} <= collector.spans.keys()

        await until(is_whole, timeout_s=60)
    request, wait, inference = (
        collector.spans[name] for name in ("GET /predict/{match_id}", "queue wait", "inference")
    )
    assert {span.trace_id.hex() for span in (request, wait, inference)} == {TRACE_ID}
    assert request.parent_span_id.hex() == SPAN_ID
    assert request.span_id.hex() in answer.headers["traceparent"]
    assert {wait.parent_span_id, inference.parent_span_id} == {request.span_id}
    assert request.start_time_unix_nano <= inference.start_time_unix_nano <= request.end_time_unix_nano
    assert wait.end_time_unix_nano == inference.start_time_unix_nano
    assert collector.services == {"touchline-api", "touchline-worker"}
    assert "hunter2" in collector.tokens


async def is_ready(client: Client) -> bool:
    return (await client.get("/readyz")).status == 200


async def test_unsampled_trace_is_passed_on_and_not_exported(serve: Serve) -> None:
    with collecting() as (collector, endpoint):
        client = await serve(otel_exporter_otlp_endpoint=endpoint)
        unsampled = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}
        answer = await client.get("/predict/odds/", headers=unsampled)
        assert answer.headers["traceparent"].endswith("-00")
        export = client.app[appkeys.EXPORT]
        assert export is not None
        await asyncio.to_thread(export.flush)
    assert collector.spans == {}


async def test_collector_that_is_away_costs_nobody_anything(serve: Serve) -> None:
    client = await serve(otel_exporter_otlp_endpoint="http://127.0.0.1:1")
    for _ in range(5):
        assert (await client.get("/predict/odds/", headers=GIVEN)).status == 200
