"""The process in which a build's drift report is made beside the training: Evidently's memory goes when it ends."""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from app.artifacts.contract import DRIFT, DriftReport
from worker.pipeline.drift.drift_report import write_drift_report
from worker.pipeline.drift.samples import DriftJob
from worker.pipeline.failures import BuildStopped


class DriftProcess:
    """A report that is being made."""

    def __init__(self, process: BaseProcess, line: Connection, folder: Path) -> None:
        self._process = process
        self._line = line
        self._folder = folder

    def result(self, predictions: Path | None = None) -> DriftReport:
        """Say where the predictions are, and wait for the report; its files are then in the folder."""
        with contextlib.suppress(BrokenPipeError):  # it has failed already, which the exit code tells
            self._line.send(predictions)
        self._process.join()
        if self._process.exitcode:
            raise BuildStopped(f"The drift report failed with exit code {self._process.exitcode}; its reason is above.")
        return DriftReport.model_validate_json((self._folder / DRIFT).read_bytes())


@contextmanager
def drift_process(job: DriftJob, folder: Path) -> Iterator[DriftProcess]:
    """Begin a report in `folder`; a build that ends early ends the process too."""
    # spawn: a forked child would inherit the threads' locks of DuckDB and of the progress bars
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_make, args=(job, folder, theirs), name="drift", daemon=True)
    process.start()
    theirs.close()
    try:
        yield DriftProcess(process, ours, folder)
    finally:
        ours.close()
        process.terminate()
        process.join()


def _make(job: DriftJob, folder: Path, line: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    write_drift_report(job, folder, line.recv)
    sys.stdout.flush()
    sys.stderr.flush()
    # DuckDB's binding complains of leaks when Python is taken down beside Evidently; nothing is left to tidy
    os._exit(0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the build was killed: nobody waits for this report
