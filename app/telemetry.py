"""Every metric object, and how logs are written."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from aioprometheus import Counter, Gauge, Histogram, Registry, render

_HTTP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))


class Metrics:
    """The metrics of one process.

    aioprometheus does not escape label values and takes no numpy numbers: label values come from fixed sets only
    (a route's canonical path, never the path asked for), values go through float().
    """

    def __init__(self) -> None:
        self._registry = Registry()
        self._http_requests = self._counter("http_requests_total", "HTTP requests by route, method and status.")
        self._http_seconds = self._histogram("http_request_duration_seconds", "Time to answer, by route and method.")
        self._predictions = self._counter("prediction_requests_total", "Live predictions by model alias and result.")
        self._prediction_seconds = self._histogram("prediction_duration_seconds", "Time of a live prediction.")
        self._model_info = self._gauge("model_info", "1 for each model that workers hold.")
        self._snapshot_age = self._gauge("snapshot_age_seconds", "Age of the artifacts being served.")
        self._snapshot_fault = self._gauge("snapshot_fault", "1 while newer artifacts could not be opened.")

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """One HTTP request; `route` is a canonical path or `unmatched`."""
        labels = {"route": route, "method": method}
        self._http_requests.inc(labels | {"status": str(status)})
        self._http_seconds.observe(labels, float(duration_s))

    def count_prediction(self, alias: str, result: str, duration_s: float) -> None:
        """One live prediction; `result` is `ok` or the code of a failure."""
        self._predictions.inc({"alias": alias, "result": result})
        self._prediction_seconds.observe({"alias": alias}, float(duration_s))

    def set_snapshot(self, age_s: float, *, has_fault: bool) -> None:
        """How old the served artifacts are, and whether newer ones were refused."""
        self._snapshot_age.set({}, float(age_s))
        self._snapshot_fault.set({}, float(has_fault))

    def set_models(self, versions: Mapping[str, str]) -> None:
        """The models that workers hold: alias to version."""
        self._model_info.values.clear()
        for alias, version in versions.items():
            self._model_info.set({"alias": _plain(alias), "version": _plain(version)}, 1.0)

    def text(self) -> tuple[bytes, str]:
        """All metrics as Prometheus text, and its media type."""
        body, headers = render(self._registry, [])
        return body, headers["Content-Type"]

    def _counter(self, name: str, doc: str) -> Any:
        return Counter(name, doc, registry=self._registry)

    def _gauge(self, name: str, doc: str) -> Any:
        return Gauge(name, doc, registry=self._registry)

    def _histogram(self, name: str, doc: str) -> Any:
        return Histogram(name, doc, registry=self._registry, buckets=_HTTP_BUCKETS_S)


def _plain(value: str) -> str:
    """A label value that needs no escaping."""
    return "".join(character for character in value if character.isalnum() or character in "-_.")


def set_up_logging(level: str, log_format: str) -> None:
    """Log to standard error: readable lines on a terminal, one JSON object a line elsewhere."""
    is_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=_rendering(is_json), foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _rendering(is_json: bool) -> list[Any]:  # noqa: FBT001  # one private caller
    last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        *(last if is_json else [structlog.dev.ConsoleRenderer()]),
    ]
