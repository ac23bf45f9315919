"""The processes that a benchmark measures."""

import json
import os
import signal
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import check_output, run
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import psutil

from infra.bench.clients import Seen
from infra.local.children import Child, Command, LocalError

READY_S = 60.0
ROOT = Path(__file__).parents[2]


@dataclass
class Servers:
    """The processes of one run; logs and data under `home`."""

    home: Path
    env: Mapping[str, str]
    children: list[Child] = field(default_factory=list)

    def start(self, name: str, module: str, *arguments: str, **env: str) -> Child:
        """One more, with its settings in the environment."""
        argv = [sys.executable, "-m", module, *arguments]
        child = Child(Command(name, argv, log=self.home / f"{name}.log", env=dict(self.env) | env))
        self.children.append(child)
        return child

    def wait_for(self, port: int, path: str) -> None:
        """Until a service answers."""
        deadline = monotonic() + READY_S
        while not _answers(port, path):
            ended = [child.log_tail() for child in self.children if child.exit_code is not None]
            if ended or monotonic() > deadline:
                raise LocalError(f"not ready: {ended or [child.log_tail(1) for child in self.children]}")
            sleep(0.1)

    def stop(self) -> None:
        """All of them, the last first."""
        for child in reversed(self.children):
            child.stop()


def _answers(port: int, path: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
        return bool(response.status == 200)
    return False


@contextmanager
def worktree(commit: str) -> Iterator[Mapping[str, str]]:
    """Check an older commit out; yield the environment in which `python -m` runs its code."""
    with TemporaryDirectory(prefix="touchline-worktree-") as folder:
        run(["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", folder, commit], check=True)
        try:
            # without the safe path the current folder would come first
            yield {"PYTHONSAFEPATH": "1", "PYTHONPATH": folder}
        finally:
            run(["git", "-C", str(ROOT), "worktree", "remove", "--force", folder], check=True)


@contextmanager
def awake(children: Iterable[Child]) -> Iterator[None]:
    """Let stopped processes run for once: while others are measured they would take part of the machine."""
    children = list(children)
    send(children, signal.SIGCONT)
    try:
        yield
    finally:
        send(children, signal.SIGSTOP)


def send(children: Iterable[Child], signum: signal.Signals) -> None:
    """Send a signal to running children."""
    for child in children:
        os.kill(child.pid, signum)


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process has used so far: CPU seconds, and how often it waited."""

    cpu_s: float
    waits: int


def usage_of(pid: int) -> ProcessUsage:
    """Return what a process has used so far; its waits are those of its main thread."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return ProcessUsage(times.user + times.system, process.num_ctx_switches().voluntary)


def memory_mb(pid: int) -> float:
    """Return a process's memory with its share of what it shares with others."""
    return float(psutil.Process(pid).memory_full_info().pss) / 1e6


def seen_by(port: int, clients: int, seconds: float, paths: Path) -> Seen:
    """What so many clients see; they have a process of their own."""
    argv = [sys.executable, "-m", "infra.bench.clients", str(port), str(clients), str(seconds), str(paths)]
    return Seen(**json.loads(check_output(argv)))
