"""Every metric of the match page."""

from app import __version__
from app.telemetry.metrics import Counter, Gauge, Histogram, MetricsRegistry
from app.telemetry.process import ProcessMetrics, usage

ASKED_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 15.0, 35.0)


class PageMetrics:
    """Sessions of readers, and questions to the API."""

    def __init__(self) -> None:
        registry = self.registry = MetricsRegistry()
        self.process = ProcessMetrics(registry, __version__)
        self.sessions = Gauge(registry, "page_sessions", "Open sessions.")
        self.asked = Counter(registry, "page_api_requests_total", "Questions to the API by result.", ("result",))
        self.seconds = Histogram(
            registry, "page_api_request_duration_seconds", "Time of a question to the API.", bounds=ASKED_BOUNDS_S
        )

    def count(self, result: str, duration_s: float) -> None:
        """One question; `result` is a status or `failed`."""
        self.asked.inc(result)
        self.seconds.observe(duration_s)

    def text(self) -> tuple[bytes, str]:
        """Everything as Prometheus text, and its media type; reads files of the kernel's."""
        self.process.set(usage())
        return self.registry.text()
