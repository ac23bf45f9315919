"""The usual metrics of a process: memory, CPU, descriptors, start."""

import os
from dataclasses import dataclass

import psutil

from app.telemetry.metrics import Counter, Gauge, MetricsRegistry


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds."""

    memory_bytes: int
    cpu_s: float
    descriptors: int


def usage(pid: int | None = None) -> Usage:
    """What a process holds now; reads files of the kernel's, so not on an event loop."""
    process = psutil.Process(pid or os.getpid())
    with process.oneshot():
        times = process.cpu_times()
        return Usage(process.memory_info().rss, times.user + times.system, process.num_fds())


class ProcessMetrics:
    """One process's own."""

    def __init__(self, registry: MetricsRegistry, version: str) -> None:
        self._memory = Gauge(registry, "process_resident_memory_bytes", "Resident memory.", across="sum")
        self._cpu = Counter(registry, "process_cpu_seconds_total", "CPU time since the start, user and system.")
        self._descriptors = Gauge(registry, "process_open_fds", "Open file descriptors.", across="sum")
        started = Gauge(registry, "process_start_time_seconds", "Start of the process, unix time.")
        started.set(psutil.Process().create_time())
        Gauge(registry, "touchline_info", "1, labelled with the version.", ("version",)).set(1, version)

    def set(self, used: Usage | None) -> None:
        """What the process holds, or that it is not known."""
        self._memory.set(None if used is None else used.memory_bytes)
        self._descriptors.set(None if used is None else used.descriptors)
        if used is not None:
            self._cpu.follow(used.cpu_s)
