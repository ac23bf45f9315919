"""Processes of one kind, forked off a server that has imported what they need, and kept alive."""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from threading import Thread
from time import monotonic
from types import FrameType
from typing import Any

from app.runtime import Backoff, set_parent_death_signal
from app.telemetry.metrics import State, read_state

log = logging.getLogger(__name__)

STEADY_S = 60.0  # a process that ran this long starts again without delay
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
WATCH_S = 0.5
STOP_S = 20.0

Target = Callable[..., None]  # the arguments of the pool, then the process's end of a pipe to it


def signal_when_orphaned(number: signal.Signals) -> None:
    """Have this process get a signal when its fork server or its supervisor is gone, even by kill -9."""
    set_parent_death_signal(number, parent=os.getppid())
    # the fork server lives for as long as we do, so its end does not tell of the supervisor's
    Thread(target=_signal_supervisor_end, args=(number,), name="supervisor", daemon=True).start()


def _signal_supervisor_end(number: signal.Signals) -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        # without a handler, as while the process starts, it ends it
        os.kill(os.getpid(), number)


def receive_state(pipe: Connection) -> State | None:
    """Return the last that a process has told since the last time; None when it has told nothing."""
    last = None
    try:
        while pipe.poll():
            last = pipe.recv_bytes()
    except (EOFError, OSError):
        pass  # it has ended; what it said before still counts
    return None if last is None else read_state(last)


class ProcessPool:
    """N processes that run `target(*arguments, pipe)`, each telling through its pipe what it has counted."""

    def __init__(
        self, target: Target, arguments: Sequence[Any], processes: int, *, name: str, preload: list[str]
    ) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(preload)
        self._target = target
        self._arguments = arguments
        self.slots = [ProcessSlot(self._process, f"{name}-{number}", self.sum_ended) for number in range(processes)]
        self._is_stopping = False

    def _process(self, name: str) -> "tuple[ForkServerProcess, Connection]":
        ours, theirs = self._context.Pipe()
        return self._context.Process(target=self._target, args=(*self._arguments, theirs), name=name), ours

    def sum_ended(self, states: list[State]) -> State:
        """Return the counts of processes that have ended as one state."""
        raise NotImplementedError

    def answer(self, slot: "ProcessSlot") -> bytes | None:  # noqa: ARG002  # for those that override it
        """Return what to tell a process that has just told its state; None for nothing."""
        return None

    def run(self) -> None:
        """Keep them alive until SIGTERM or SIGINT, then stop them in order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._is_stopping:
                for slot in self.slots:
                    if slot.watch() and (told := self.answer(slot)) is not None:
                        slot.send(told)
                wait([slot.sentinel for slot in self.slots if slot.sentinel is not None], WATCH_S)
        finally:
            self._drain()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name)
        self._is_stopping = True

    def _drain(self) -> None:
        for slot in self.slots:
            slot.terminate()
        deadline = monotonic() + STOP_S
        for slot in self.slots:
            slot.stop(max(deadline - monotonic(), 0.1))


class ProcessSlot:
    """One of the pool's processes, and its replacements."""

    def __init__(
        self,
        make: "Callable[[str], tuple[ForkServerProcess, Connection]]",
        name: str,
        sum_ended: Callable[[list[State]], State],
    ) -> None:
        self._make = make
        self._name = name
        self._sum_ended = sum_ended
        self._pipe: Connection | None = None
        self.state: State | None = None  # what the living process has told
        self.ended: list[State] = []  # the sum of those that have ended, if any
        self.starts = 0
        self._process: ForkServerProcess | None = None
        self._started = self._due = monotonic()
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)

    @property
    def sentinel(self) -> int | None:
        """What is ready when the process ends."""
        return None if self._process is None else self._process.sentinel

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.exitcode is None

    def watch(self) -> bool:
        """Notice an end; start again when it is time; whether the process has told its state since the last look."""
        has_told = self._receive_state()
        if self._process is not None and self._process.exitcode is not None:
            self._schedule_restart(self._process.exitcode)
        if self._process is None and monotonic() >= self._due:
            self._process, self._pipe = self._make(self._name)
            self._process.start()
            self._started = monotonic()
            self.starts += 1
        return has_told

    def send(self, message: bytes) -> None:
        """Answer the process, which waits for it."""
        if self._pipe is not None:
            with suppress(OSError):  # it has ended
                self._pipe.send_bytes(message)

    def _receive_state(self) -> bool:
        state = None if self._pipe is None else receive_state(self._pipe)
        self.state = state or self.state
        return state is not None

    def _keep_counts(self) -> None:
        """Keep what the process had counted: totals never fall."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self.state is not None:
            self.ended = [self._sum_ended([*self.ended, self.state])]
            self.state = None

    def _schedule_restart(self, exit_code: int) -> None:
        if monotonic() - self._started > STEADY_S:
            self._backoff.reset()
        pause_s = self._backoff.next_pause()
        self._due = monotonic() + pause_s
        log.warning("process.ended: %s (%s); starting it again in %.1f s", self._name, exit_code, pause_s)
        self._keep_counts()
        if self._process is not None:
            self._process.close()
            self._process = None

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process is not None and self._process.exitcode is None:
            self._process.terminate()

    def stop(self, timeout_s: float) -> None:
        """Wait for its end, and force it after that time."""
        if self._process is None:
            return
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            log.warning("process.killed: %s does not stop", self._name)
            self._process.kill()
            self._process.join()
