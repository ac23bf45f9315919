"""The pool of worker processes, and what it tells Prometheus."""

import asyncio
from multiprocessing.connection import Connection

from app.process_pool import ProcessPool, Target, signal_when_orphaned
from app.runtime import ORPHANED
from app.settings import Settings
from app.telemetry.logging import set_up_logging
from app.telemetry.metrics import State
from worker.metrics import PoolMetrics, serve_metrics

# imported once, before any process is forked; MLflow's stores come in late and take seconds
PRELOAD = [
    "worker.main",
    "worker.registry",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
]


def work(settings: Settings, pipe: Connection | None = None) -> None:
    """The life of one worker process, which tells through `pipe` what it counts.

    Without its parents it answers on until another is ready: a new fork server first imports MLflow, for seconds.
    """
    from worker.main import serve  # noqa: PLC0415  # the supervisor itself needs none of it

    signal_when_orphaned(ORPHANED)
    set_up_logging(settings.log_level, settings.log_format)
    asyncio.run(serve(settings, pipe=pipe))


class WorkerPool(ProcessPool):
    """N worker processes."""

    def __init__(
        self, settings: Settings, processes: int, *, target: Target = work, preload: list[str] = PRELOAD
    ) -> None:
        super().__init__(target, (settings,), processes, name="worker", preload=preload)
        self._settings = settings

    def sum_ended(self, states: list[State]) -> State:
        """Return what processes that have ended had counted."""
        return PoolMetrics(ended=states).registry.state()

    def scrape(self) -> PoolMetrics:
        """What all processes have counted, those that have ended too."""
        states = [slot.state for slot in self.slots if slot.state is not None]
        metrics = PoolMetrics(states, [state for slot in self.slots for state in slot.ended])
        metrics.processes.set(sum(slot.is_alive for slot in self.slots))
        metrics.starts.follow(sum(slot.starts for slot in self.slots))
        return metrics

    def run(self) -> None:
        """Keep them alive until SIGTERM or SIGINT."""
        settings = self._settings
        if settings.worker_metrics_port:
            serve_metrics(settings.worker_metrics_host, settings.worker_metrics_port, self.scrape)
        super().run()
