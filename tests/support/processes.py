"""What the processes of a pool do in tests; imports little, so that they start fast."""

import os
import signal
import sys
import time
from collections.abc import Sized

from app.process_pool import signal_when_orphaned
from app.settings import Settings

PRELOAD = ["tests.support.processes", "pytest"]


def leave_a_mark(settings: Settings, _pipe: object = None) -> None:
    """A worker process that does nothing but tell its pid."""
    signal_when_orphaned(signal.SIGUSR1)
    (settings.touchline_home / str(os.getpid())).touch()
    time.sleep(60)


def fall_over(settings: Settings, _pipe: object = None) -> None:
    """A worker process that cannot start."""
    (settings.touchline_home / str(os.getpid())).touch()
    sys.exit(3)


class Dawdler:
    """A model that takes its time; scikit-learn's interface, and always the same answer."""

    ANSWER = (0.5, 0.3, 0.2)
    classes_ = ("home", "draw", "away")

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s

    def fit(self, _rows: object, _outcomes: object) -> "Dawdler":
        """Nothing to learn."""
        return self

    def predict_proba(self, rows: Sized) -> list[tuple[float, float, float]]:
        """Late for one row; at once for the many that warm a model up."""
        time.sleep(self._pause_s if len(rows) == 1 else 0)
        return [self.ANSWER] * len(rows)

    predict = predict_proba
