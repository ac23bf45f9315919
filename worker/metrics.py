"""Metrics of the worker pool: what each process counts, sent to the supervisor, which serves the sums."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import orjson

from app import __version__
from app.telemetry.metrics import Counter, Gauge, Histogram, MetricsRegistry, State
from app.telemetry.process import ProcessMetrics, usage

BATCH_BOUNDS = (1, 2, 4, 8, 16, 32)
COMPUTE_BOUNDS_S = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 60.0)
WAIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0)


class WorkerMetrics:
    """What one worker process counts."""

    def __init__(self, registry: MetricsRegistry | None = None) -> None:
        registry = self.registry = registry or MetricsRegistry()
        self.jobs = Counter(registry, "worker_jobs_total", "Jobs that were answered, by result.", ("result",))
        self.batch = Histogram(registry, "worker_batch_jobs", "Jobs in a batch.", bounds=BATCH_BOUNDS)
        self.compute = Histogram(
            registry, "worker_batch_duration_seconds", "Time of a batch in the model.", bounds=COMPUTE_BOUNDS_S
        )
        self.wait = Histogram(
            registry, "worker_queue_wait_seconds", "Time that jobs waited in the queue.", bounds=WAIT_BOUNDS_S
        )
        self.reclaimed = Counter(registry, "worker_reclaims_total", "Jobs taken up again after a try that did not end.")
        self.retries = Counter(registry, "worker_retries_total", "Tries that failed and are made again.")
        self.dead = Counter(registry, "worker_dead_letters_total", "Jobs that were given up.")
        self._models = Gauge(
            registry, "worker_models_held", "Processes that hold a version of a model.", ("alias", "version")
        )
        self._refused = Gauge(
            registry, "worker_models_refused", "Processes that could not take the version an alias names.", ("alias",)
        )
        self._missing = Gauge(
            registry,
            "worker_model_aliases_missing",
            "Processes whose model has lost its alias in the registry; its last version serves on.",
            ("alias",),
        )
        self._ready = Gauge(registry, "worker_processes_ready", "Processes that can answer.")
        self._away = Gauge(
            registry, "worker_registry_unreachable", "Processes that could not read the registry when they last looked."
        )
        self._memory = Gauge(registry, "worker_memory_bytes", "Resident memory of all processes.")

    def count_batch(self, waits_s: Sequence[float], compute_s: float) -> None:
        """A batch that the model has answered; `waits_s` of each of its jobs."""
        self.batch.observe(len(waits_s))
        self.compute.observe(compute_s)
        for wait_s in waits_s:
            self.wait.observe(max(wait_s, 0.0))

    def set_models(self, held: Mapping[str, str], refused: Iterable[str], *, is_ready: bool, is_away: bool) -> None:
        """What is held: alias to version; which aliases name something that cannot be."""
        self._models.clear()
        for alias, version in held.items():
            self._models.set(1, alias, version)
        self._refused.clear()
        for alias in refused:
            self._refused.set(1, alias)
        self._ready.set(is_ready)
        self._away.set(is_away)

    def set_missing(self, aliases: Iterable[str]) -> None:
        """Set which aliases the registry no longer has."""
        self._missing.clear()
        for alias in aliases:
            self._missing.set(1, alias)

    def set_memory(self, size_bytes: float) -> None:
        """Resident memory of this process."""
        self._memory.set(size_bytes)


class PoolMetrics:
    """The whole pool: rebuilt at each scrape from what its processes last told."""

    def __init__(self, states: Iterable[State] = (), ended: Iterable[State] = ()) -> None:
        self.registry = MetricsRegistry()
        self.process = ProcessMetrics(self.registry, __version__)
        worker = WorkerMetrics(self.registry)
        self.processes = Gauge(self.registry, "worker_processes", "Worker processes that are alive.")
        self.starts = Counter(self.registry, "worker_starts_total", "Worker processes that were started.")
        self._recoveries = Counter(
            self.registry, "worker_lease_recoveries_total", "Jobs taken over from a worker whose lease ran out."
        )
        for state in states:
            self.registry.add(state)
        for state in ended:
            self.registry.add(state, with_gauges=False)
        # a try that failed is given back and taken up again as well; what is taken up beyond those was left behind
        self._recoveries.follow(max(worker.reclaimed.total() - worker.retries.total(), 0))

    def text(self) -> tuple[bytes, str]:
        """Everything as Prometheus text, and its media type; reads files of the kernel's."""
        self.process.set(usage())
        return self.registry.text()


log = logging.getLogger(__name__)

TELL_EVERY_S = 1.0
Scrape = Callable[[], PoolMetrics]


async def send_metrics(metrics: WorkerMetrics, pipe: Connection) -> None:
    """Tell the supervisor for ever; in a thread, for a pipe that nobody reads fills up."""
    while True:
        try:
            await asyncio.to_thread(pipe.send_bytes, orjson.dumps(metrics.registry.state()))
        except OSError:
            return  # the supervisor is gone, and this process will follow it
        await asyncio.sleep(TELL_EVERY_S)


def serve_metrics(host: str, port: int, scrape: Scrape) -> ThreadingHTTPServer | None:
    """Serve what `scrape` gives at /metrics, in threads of their own; None when the port cannot be had."""
    handler = type("Handler", (_Handler,), {"scrape": staticmethod(scrape)})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        # another pool of this machine has it; work goes on, and somebody should know
        log.warning("no metrics: cannot listen on %s:%d: %s", host, port, error.strerror)
        return None
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    scrape: Scrape
    timeout = 5.0  # a scraper sends its one line at once
    server_version, sys_version = "touchline", ""

    def do_GET(self) -> None:  # the base class's name
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body, media_type = self.scrape().text()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """A scrape every few seconds is no news."""
