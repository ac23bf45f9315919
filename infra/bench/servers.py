"""The processes that a benchmark measures."""

import json
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import check_output
from time import monotonic, sleep

from infra.bench.clients import Seen
from infra.local.children import Child, Command, LocalError

READY_S = 60.0


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


def seen_by(port: int, clients: int, seconds: float, paths: Path) -> Seen:
    """What so many clients see; they have a process of their own."""
    argv = [sys.executable, "-m", "infra.bench.clients", str(port), str(clients), str(seconds), str(paths)]
    return Seen(**json.loads(check_output(argv)))
