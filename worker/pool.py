"""Keeps the worker processes alive."""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from threading import Thread
from time import monotonic
from types import FrameType

from app.runtime import ORPHANED, Backoff, set_parent_death_signal
from app.settings import Settings
from app.telemetry.logging import set_up_logging
from app.telemetry.metrics import State
from worker.metrics import PoolMetrics, receive_metrics, serve_metrics

log = logging.getLogger(__name__)

STEADY_S = 60.0  # a process that ran this long starts again without delay
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
WATCH_S = 0.5
STOP_S = 20.0
# imported once, before any process is forked; MLflow's stores come in late and take seconds
PRELOAD = [
    "worker.main",
    "worker.registry",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
]

Target = Callable[[Settings], None]


def work(settings: Settings, pipe: Connection | None = None) -> None:
    """The life of one worker process, which tells through `pipe` what it counts."""
    from worker.main import serve  # noqa: PLC0415  # the supervisor itself needs none of it

    hand_over_when_orphaned()
    set_up_logging(settings.log_level, settings.log_format)
    asyncio.run(serve(settings, pipe=pipe))


def hand_over_when_orphaned() -> None:
    """Have a signal sent when the fork server or the supervisor is gone, even by kill -9.

    On it a worker answers on until another is ready: a new fork server first imports MLflow, for seconds.
    """
    set_parent_death_signal(ORPHANED, parent=os.getppid())
    # the fork server lives for as long as we do, so its end does not tell of the supervisor's
    Thread(target=_signal_supervisor_end, name="supervisor", daemon=True).start()


def _signal_supervisor_end() -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        # without a handler, as while the process starts, it ends it
        os.kill(os.getpid(), ORPHANED)


class Pool:
    """N worker processes. They are forked off a server that has imported MLflow, so a new one is there at once."""

    def __init__(
        self, settings: Settings, processes: int, *, target: Target | None = None, preload: list[str] = PRELOAD
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(preload)
        self._settings = settings
        self._context = context
        self._target = target
        self._slots = [_WorkerSlot(self._process, number) for number in range(processes)]
        self._is_stopping = False

    def _process(self, name: str) -> "tuple[ForkServerProcess, Connection]":
        """A process that is yet to start, and the pipe through which it will tell what it counts."""
        ours, theirs = self._context.Pipe(duplex=False)
        target = self._target or partial(work, pipe=theirs)
        return self._context.Process(target=target, args=(self._settings,), name=name), ours

    def scrape(self) -> PoolMetrics:
        """What all processes have counted, those that have ended too."""
        states = [slot.state for slot in self._slots if slot.state is not None]
        metrics = PoolMetrics(states, [state for slot in self._slots for state in slot.ended])
        metrics.processes.set(sum(slot.is_alive for slot in self._slots))
        metrics.starts.follow(sum(slot.starts for slot in self._slots))
        return metrics

    def run(self) -> None:
        """Keep them alive until SIGTERM or SIGINT."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._stop)
        settings = self._settings
        if settings.worker_metrics_port:
            serve_metrics(settings.worker_metrics_host, settings.worker_metrics_port, self.scrape)
        try:
            while not self._is_stopping:
                for slot in self._slots:
                    slot.watch()
                wait([slot.sentinel for slot in self._slots if slot.sentinel is not None], WATCH_S)
        finally:
            self._drain()

    def _stop(self, signum: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(signum).name)
        self._is_stopping = True

    def _drain(self) -> None:
        for slot in self._slots:
            slot.terminate()
        deadline = monotonic() + STOP_S
        for slot in self._slots:
            slot.stop(max(deadline - monotonic(), 0.1))


class _WorkerSlot:
    """One of the pool's processes, and its replacements."""

    def __init__(self, make: "Callable[[str], tuple[ForkServerProcess, Connection]]", number: int) -> None:
        self._make = make
        self._number = number
        self._pipe: Connection | None = None
        self.state: State | None = None  # what the living process has told
        self.ended: list[State] = []  # the sum of those that have ended, if any
        self.starts = 0
        self._process: ForkServerProcess | None = None
        self._started = self._due = monotonic()
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    @property
    def sentinel(self) -> int | None:
        return None if self._process is None else self._process.sentinel

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.exitcode is None

    def watch(self) -> None:
        """Notice an end; start again when it is time; hear what the process tells."""
        self._receive_state()
        if self._process is not None and self._process.exitcode is not None:
            self._schedule_restart(self._process.exitcode)
        if self._process is None and monotonic() >= self._due:
            self._process, self._pipe = self._make(f"worker-{self._number}")
            self._process.start()
            self._started = monotonic()
            self.starts += 1

    def _receive_state(self) -> None:
        if self._pipe is not None:
            self.state = receive_metrics(self._pipe) or self.state

    def _keep_counts(self) -> None:
        """Keep what the process had counted: totals never fall."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self.state is not None:
            self.ended = [PoolMetrics(ended=[*self.ended, self.state]).registry.state()]
            self.state = None

    def _schedule_restart(self, exit_code: int) -> None:
        if monotonic() - self._started > STEADY_S:
            self._backoff.reset()
        pause_s = self._backoff.next_pause()
        self._due = monotonic() + pause_s
        log.warning("worker.ended: number %d (%s); starting it again in %.1f s", self._number, exit_code, pause_s)
        self._keep_counts()
        if self._process is not None:
            self._process.close()
            self._process = None

    def terminate(self) -> None:
        if self._process is not None and self._process.exitcode is None:
            self._process.terminate()

    def stop(self, timeout_s: float) -> None:
        if self._process is None:
            return
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            log.warning("worker.killed: number %d does not stop", self._number)
            self._process.kill()
            self._process.join()
