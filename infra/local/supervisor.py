"""Keeps services alive, and stops them in the reverse order of their start."""

import time

import structlog

from app.runtime import Backoff
from infra.local.children import Child, LocalError
from infra.local.services import Service

log = structlog.get_logger("touchline")

STEADY_S = 60.0  # a service that ran this long starts again without delay
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class _Kept:
    def __init__(self, service: Service) -> None:
        self.service = service
        self.child = Child(service.make())
        self.started = time.monotonic()
        self.backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self.due: float | None = None

    def watch(self) -> None:
        if self.due is None:
            if self.child.exit_code is not None:
                self._plan()
        elif time.monotonic() >= self.due:
            self._start()

    def _plan(self) -> None:
        pause_s = 0.0
        if time.monotonic() - self.started > STEADY_S:
            self.backoff.reset()
        else:
            pause_s = self.backoff.next_pause()
        self.due = time.monotonic() + pause_s
        log.warning(
            "service.ended",
            service=self.service.name,
            exit_code=self.child.exit_code,
            pause_s=pause_s,
            log=str(self.child.command.log),
        )

    def _start(self) -> None:
        self.child = Child(self.service.make())
        self.started = time.monotonic()
        self.due = None


class Supervisor:
    """Starts services, watches them, stops them."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def start(self, *services: Service) -> None:
        """Start them side by side."""
        self._kept.extend(_Kept(service) for service in services)

    def wait_ready(self, service: Service) -> float:
        """Block until the service is ready; the seconds since its start."""
        kept = next(kept for kept in self._kept if kept.service is service)
        service.wait(kept.child)
        return time.monotonic() - kept.started

    def watch(self) -> None:
        """Start again what has ended, and rotate the logs; call it often."""
        for kept in self._kept:
            try:
                kept.watch()
            except (OSError, LocalError) as error:
                log.error("service.not_started", service=kept.service.name, error=str(error))
                kept.due = time.monotonic() + LONGEST_PAUSE_S
            try:
                kept.child.rotate_log()
            except OSError as error:
                # a disk without room for a copy: the log is worth less than the service
                log.warning("log.not_rotated", service=kept.service.name, error=str(error))

    def stop(self) -> None:
        """Ask all of them in reverse order, each once the one above it has ended."""
        while self._kept:
            self._kept.pop().child.stop()
