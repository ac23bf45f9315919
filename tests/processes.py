"""What the processes of a pool do in tests; imports little, so that they start fast."""

import os
import sys
import time

from app.settings import Settings
from worker.pool import stop_with_supervisor

PRELOAD = ["tests.processes", "pytest"]


def leave_a_mark(settings: Settings) -> None:
    """A worker process that does nothing but tell its pid."""
    stop_with_supervisor()
    (settings.touchline_home / str(os.getpid())).touch()
    time.sleep(60)


def fall_over(settings: Settings) -> None:
    """A worker process that cannot start."""
    (settings.touchline_home / str(os.getpid())).touch()
    sys.exit(3)
