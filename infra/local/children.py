"""Child processes that cannot outlive the process that started them."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from app.runtime import set_parent_death_signal

LOG_BYTES = 16 * 2**20
LOG_FILES = 3
WATCH_S = 0.2  # between two looks at what runs


class LocalError(Exception):
    """What went wrong, in one sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: `env` is added to ours, `log` takes both outputs, `user` is the uid to run as."""

    name: str
    argv: Sequence[str]
    log: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 15.0


class Child:
    """A running command."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process = _spawn(command)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def log_tail(self, lines: int = 5) -> str:
        """The last lines it logged."""
        if self.command.log is None or not self.command.log.exists():
            return ""
        return "\n".join(self.command.log.read_text(errors="replace").splitlines()[-lines:])

    def rotate_log(self) -> None:
        """Begin the log anew when it has grown past LOG_BYTES, and keep the last LOG_FILES of them.

        The child goes on writing into the same file, so what it says between the copy and the cut is lost: a few lines.
        """
        log = self.command.log
        if log is None or not log.exists() or log.stat().st_size < LOG_BYTES:
            return
        older = [log.with_name(f"{log.name}.{number}") for number in range(1, LOG_FILES + 1)]
        for newer, old in reversed(list(itertools.pairwise(older))):
            if newer.exists():
                newer.replace(old)
        shutil.copyfile(log, older[0])
        os.truncate(log, 0)

    def ask_to_stop(self) -> None:
        """Send the stop signal; does not wait."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(self.command.stop_signal)

    def wait(self, timeout_s: float) -> None:
        """Wait for the end; subprocess.TimeoutExpired when it does not come."""
        self._process.wait(timeout_s)

    def stop(self) -> None:
        """Ask, wait, force."""
        if self.exit_code is not None:
            return
        self.ask_to_stop()
        try:
            self.wait(self.command.stop_timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as files:
        out = None
        if command.log is not None:
            command.log.parent.mkdir(parents=True, exist_ok=True)
            out = files.enter_context(command.log.open("ab"))
        return subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | dict(command.env),
            # its own group: Ctrl-C reaches us alone, and we stop children in order
            process_group=0,
            user=command.user,
            group=command.user,
            extra_groups=None if command.user is None else [],
            # we have no threads when we start children
            preexec_fn=partial(set_parent_death_signal, signal.SIGTERM, parent=os.getpid()),  # noqa: PLW1509
        )


def run_once(command: Command, *, timeout_s: float = 120.0, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Run to its end, calling `meanwhile` all the time; a failure is a LocalError with the last lines of the log."""
    child = Child(command)
    deadline = time.monotonic() + timeout_s
    try:
        while child.exit_code is None:
            if time.monotonic() > deadline:
                raise LocalError(f"{command.name} did not finish within {timeout_s:.0f} s.")
            meanwhile()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(WATCH_S)
    finally:
        child.stop()
    if child.exit_code != 0:
        raise LocalError(f"{command.name} failed: {child.log_tail() or f'exit code {child.exit_code}'}")
