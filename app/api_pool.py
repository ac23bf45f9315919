"""Several API processes on one port, under one supervisor: one command uses a machine of many cores.

The kernel gives each new connection to one of them (SO_REUSEPORT). Each has its own snapshot, connections and event
listeners; the rate limit is in Redis, ledger rows meet in the database, and metrics are told as the sum of all.
"""

import asyncio
import os
import signal
import socket
import sys
from multiprocessing.connection import Connection

import orjson

from app.process_pool import ProcessPool, ProcessSlot, signal_when_orphaned
from app.settings import HttpSettings, Settings
from app.telemetry.api_metrics import Metrics
from app.telemetry.logging import set_up_logging
from app.telemetry.metrics import State

PRELOAD = ["app.main", "app.server"]  # imported once, before any process is forked


def work(settings: Settings, pipe: Connection) -> None:
    """The life of one API process."""
    # the supervisor itself needs none of it
    from app.main import create_app  # noqa: PLC0415
    from app.server import serve  # noqa: PLC0415
    from app.telemetry.siblings import Siblings  # noqa: PLC0415

    signal_when_orphaned(signal.SIGTERM)
    set_up_logging(settings.log_level, settings.log_format)
    asyncio.run(serve(create_app(settings, siblings=Siblings(pipe))))


class ApiPool(ProcessPool):
    """As many API processes as `APP_PROCESSES` says."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(work, (settings,), settings.app_processes, name="api", preload=PRELOAD)

    def sum_ended(self, states: list[State]) -> State:
        """Return what processes that have ended had counted."""
        total = Metrics().registry
        for state in states:
            total.add(state, with_gauges=False)
        return total.state()

    def answer(self, slot: ProcessSlot) -> bytes:
        """Return what all processes but this one have counted, those that have ended too."""
        total = Metrics().registry
        total.clear()
        for other in self.slots:
            if other is not slot and other.state is not None:
                total.merge(other.state)
            for state in other.ended:
                total.add(state, with_gauges=False)
        return orjson.dumps(total.state())


def check_port(http: HttpSettings) -> None:
    """Exit with a sentence unless the port is free: processes that share one would not notice another service on it."""
    if http.port == 0:
        sys.exit("APP_PROCESSES above 1 needs an APP_PORT: with 0 each process would have a port of its own.")
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((http.host, http.port))
            door.listen()
        except OSError as error:
            sys.exit(f"Cannot listen on {http.host}:{http.port}: {os.strerror(error.errno or 0)}.")
