"""Every metric of the API."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from app import __version__
from app.telemetry.metrics import Counter, Distribution, Gauge, Histogram, MetricsRegistry, State
from app.telemetry.process import ProcessMetrics


class ScoreMetrics:
    """Figures that a snapshot or the ledger says anew now and then; one that nobody knows is absent."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._bets = Gauge(
            registry,
            "value_bets",
            "Value bets of the snapshot at one unit each: settled, open, profit, drawdown; roi, roi_low, roi_high, "
            "mean_edge, clv and accuracies as shares.",
            ("figure",),
        )
        self._quality = Gauge(
            registry,
            "model_quality",
            "Settled live predictions of the last year: n, log_loss, brier, rps, ece, ece_floor.",
            ("role", "version", "figure"),
        )

        self._promoted = Gauge(
            registry,
            "model_promoted_at_seconds",
            "When an alias was moved, unix time; of the newest promotions and rollbacks.",
            ("action", "alias", "from_version", "to_version"),
        )

    def set_promotions(self, moved: Iterable[tuple[tuple[str, str, str, str], float]]) -> None:
        """By action, alias and versions; of two that are alike the last counts."""
        self._promoted.clear()
        for labels, moved_at_s in moved:
            self._promoted.set(moved_at_s, *labels)

    def set_bets(self, figures: Mapping[str, float | None]) -> None:
        """The figures of a snapshot; None is absent."""
        self._bets.clear()
        for figure, value in figures.items():
            self._bets.set(value, figure)

    def set_quality(self, figures: Mapping[tuple[str, str, str], float | None]) -> None:
        """By role, version and figure; None is absent."""
        self._quality.clear()
        for labels, value in figures.items():
            self._quality.set(value, *labels)


# 50 and 200 ms are promised for live predictions, 5 and 25 ms are what we hold ourselves to
REQUEST_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
INFERENCE_BOUNDS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0)
# the likeliest of three outcomes has at least a third
CONFIDENCE_BOUNDS = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class ModelSeries:
    """A model that workers hold."""

    alias: str
    name: str
    version: str
    run_id: str
    registered_at_s: float | None  # unix time


class Metrics:
    """What the API counts itself, and what a scrape reads from others."""

    def __init__(self) -> None:
        registry = self.registry = MetricsRegistry()
        self.process = ProcessMetrics(registry, __version__)
        self.live = LiveMetrics(registry)
        self.queue = QueueMetrics(registry)
        self.artifacts = ArtifactMetrics(registry)
        self.ledger = LedgerMetrics(registry)
        self.scores = ScoreMetrics(registry)
        self._requests = Counter(
            registry, "http_requests_total", "HTTP requests by route, method and status.", ("method", "route", "status")
        )
        self._seconds = Histogram(
            registry,
            "http_request_duration_seconds",
            "Time to answer, by route and method.",
            ("method", "route"),
            bounds=REQUEST_BOUNDS_S,
        )
        self._series: dict[tuple[str, str, int], tuple[list[float], Distribution]] = {}
        self.unchecked = Counter(
            registry, "rate_limit_unchecked_total", "Requests let through uncounted because Redis did not answer."
        )
        self.up = Gauge(registry, "dependency_up", "1 while a dependency answers, 0 while it does not.", ("name",))
        self.listeners = Gauge(registry, "event_listeners", "Clients that follow the change feed.", across="sum")

    def text(self, siblings: State | None = None) -> tuple[bytes, str]:
        """Everything as Prometheus text, and its media type; with what the other API processes have counted."""
        if siblings is None:
            return self.registry.text()
        merged = Metrics()
        merged.registry.clear()
        merged.registry.add(self.registry.state())
        merged.registry.merge(siblings)
        return merged.registry.text()

    def count_request(self, route: str, method: str, status: int, duration_s: float) -> None:
        """One HTTP request; `route` is a canonical path or `unmatched`."""
        series = self._series.get((route, method, status))
        if series is None:
            series = self._requests.cell(method, route, str(status)), self._seconds.cell(method, route)
            self._series[route, method, status] = series
        count, seconds = series
        count[0] += 1
        seconds.add(duration_s)


class LiveMetrics:
    """Live predictions and the models behind them."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._requests = Counter(
            registry, "prediction_requests_total", "Live predictions by model alias and result.", ("alias", "result")
        )
        self._seconds = Histogram(
            registry,
            "prediction_duration_seconds",
            "Time of a live prediction, from the request to its answer.",
            ("alias",),
            bounds=REQUEST_BOUNDS_S,
        )
        self._inference = Histogram(
            registry,
            "inference_duration_seconds",
            "Time the model took, as the worker measured it; of the whole batch that the prediction was in.",
            ("alias",),
            bounds=INFERENCE_BOUNDS_S,
        )
        self._confidence = Histogram(
            registry,
            "prediction_confidence",
            "Probability of the likeliest outcome.",
            ("alias",),
            bounds=CONFIDENCE_BOUNDS,
        )
        self._info = Gauge(
            registry, "model_info", "1 for each model that workers hold.", ("alias", "name", "version", "run_id")
        )
        self._registered = Gauge(
            registry,
            "model_registered_at_seconds",
            "When a model that workers hold was registered, unix time.",
            ("alias", "version"),
        )
        self._held = Gauge(
            registry, "model_alias_held", "1 for each alias of MODEL_ALIASES that a worker holds, else 0.", ("alias",)
        )

    def count(self, alias: str, result: str, duration_s: float) -> None:
        """One live prediction; `result` is `ok` or the code of a failure."""
        self._requests.inc(alias, result)
        self._seconds.observe(duration_s, alias)

    def observe_answer(self, alias: str, confidence: float, inference_ms: float | None) -> None:
        """What a worker said of one answer; no time where it was computed for an earlier question."""
        self._confidence.observe(confidence, alias)
        if inference_ms is not None:
            self._inference.observe(inference_ms / 1000, alias)

    def set_aliases(self, aliases: Iterable[str], held: Collection[str] | None) -> None:
        """Say which of the configured aliases workers hold; None when nobody knows."""
        self._held.clear()
        for alias in aliases if held is not None else ():
            self._held.set(alias in (held or ()), alias)

    def set_models(self, models: Iterable[ModelSeries]) -> None:
        """The models that workers hold now."""
        self._info.clear()
        self._registered.clear()
        for model in models:
            self._info.set(1, model.alias, model.name, model.version, model.run_id)
            self._registered.set(model.registered_at_s, model.alias, model.version)


class QueueMetrics:
    """What waits for the workers, and who they are."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.jobs = Gauge(registry, "queue_jobs", "Jobs in the queue by state.", ("state",))
        self.oldest = Gauge(registry, "queue_oldest_job_age_seconds", "Age of the oldest job; 0 when there is none.")
        self.dead = Gauge(registry, "queue_dead_letters", "Jobs that were given up and wait for somebody to look.")
        self.drained = Gauge(registry, "queue_drain_rate", "Jobs a second that the workers answer at present.")
        self.workers = Gauge(registry, "workers_alive", "Worker processes that were heard of in the last seconds.")
        self.verified = Gauge(registry, "workers_verified", "Those of them that hold a model they have verified.")
        self.refresh_fault = Gauge(registry, "refresh_fault", "1 while the last refresh of the artifacts has failed.")
        self.memory = Gauge(registry, "workers_memory_bytes", "Resident memory of all of them.")
        self.skew = Gauge(
            registry,
            "clock_skew_seconds",
            "How far the clock of the API or of a worker is ahead of the clock of Redis.",
            ("process",),
        )

    def clear(self) -> None:
        """Nobody knows."""
        for gauge in (
            self.jobs,
            self.oldest,
            self.dead,
            self.drained,
            self.workers,
            self.verified,
            self.memory,
            self.skew,
        ):
            gauge.clear()


class ArtifactMetrics:
    """The snapshot being served and the queries over it."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.age = Gauge(registry, "snapshot_age_seconds", "Age of the artifacts being served.", across="max")
        self.fault = Gauge(registry, "snapshot_fault", "1 while newer artifacts could not be opened.", across="max")
        self.swaps = Counter(registry, "snapshot_swaps_total", "Snapshots that were opened.")
        self.matches = Gauge(registry, "snapshot_matches", "Matches of the snapshot being served.")
        self.odds_age = Gauge(registry, "odds_age_seconds", "Age of the newest odds being served.")
        self.features_age = Gauge(registry, "features_age_seconds", "Age of the features being served.")
        self.drift = Gauge(
            registry, "model_feature_drift_score", "Share of the model's features that have drifted, 0 to 1."
        )
        self.drift_age = Gauge(registry, "drift_report_age_seconds", "Age of the drift report.")
        self.queries = Counter(registry, "lake_queries_total", "DuckDB queries by result.", ("result",))
        self.query_s = Counter(registry, "lake_query_seconds_total", "Time that DuckDB queries took.")
        self.running = Gauge(registry, "lake_queries_running", "DuckDB queries that run now.", across="sum")
        self.waiting = Gauge(registry, "lake_queries_waiting", "DuckDB queries that wait for their turn.", across="sum")
        self.response_cache = Counter(
            registry, "rendered_lookups_total", "Looks for an answer that was rendered before, by result.", ("result",)
        )
        self.odds_at_s: float | None = None  # unix time; ages go on growing, so they are set at each scrape
        self.drift_at_s: float | None = None
        self._seen = ("", 0, 0)

    def set_ages(self, now_s: float) -> None:
        """The ages as of now."""
        self.odds_age.set(None if self.odds_at_s is None else now_s - self.odds_at_s)
        self.drift_age.set(None if self.drift_at_s is None else now_s - self.drift_at_s)

    def follow_rendered(self, snapshot_id: str, hits: int, misses: int) -> None:
        """Go on counting where each snapshot begins anew."""
        last_id, last_hits, last_misses = self._seen if self._seen[0] == snapshot_id else (snapshot_id, 0, 0)
        self.response_cache.inc("hit", by=hits - last_hits)
        self.response_cache.inc("miss", by=misses - last_misses)
        self._seen = (last_id, hits, misses)


class LedgerNumbers(Protocol):
    """What a ledger tells of itself."""

    @property
    def lag_s(self) -> float: ...
    @property
    def rows_waiting(self) -> int: ...
    @property
    def bytes_waiting(self) -> int: ...
    @property
    def rows_lost(self) -> int: ...
    @property
    def rows_refused(self) -> int: ...


class LedgerMetrics:
    """How far the ledger is behind the answers."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.lag = Gauge(
            registry, "ledger_lag_seconds", "Age of the oldest row that the database does not have.", across="max"
        )
        self.waiting = Gauge(registry, "ledger_rows_waiting", "Rows that the database does not have yet.", across="sum")
        self.bytes = Gauge(registry, "ledger_journal_bytes", "Size of the journal that waits on disk.")
        self.lost = Counter(registry, "ledger_rows_lost_total", "Rows that could not be kept.")
        self.refused = Counter(registry, "ledger_rows_refused_total", "Rows that the database refused.")

    def follow(self, ledger: LedgerNumbers) -> None:
        """The numbers of a ledger."""
        self.lag.set(ledger.lag_s)
        self.waiting.set(ledger.rows_waiting)
        self.bytes.set(ledger.bytes_waiting)
        self.lost.follow(ledger.rows_lost)
        self.refused.follow(ledger.rows_refused)
