"""The process in which the drift report is made beside the training: Evidently's memory goes when it ends."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from app.store.contract import DRIFT, DriftReport
from worker.batch.drift import DriftJob, write_drift_report
from worker.batch.failures import BuildStopped


class DriftProcess:
    """A report that is being made."""

    def __init__(self, process: BaseProcess, folder: Path) -> None:
        self._process = process
        self._folder = folder

    def result(self) -> DriftReport:
        """Wait for the report; its files are then in the folder."""
        self._process.join()
        if self._process.exitcode:
            raise BuildStopped(f"The drift report failed with exit code {self._process.exitcode}; its reason is above.")
        return DriftReport.model_validate_json((self._folder / DRIFT).read_bytes())


@contextmanager
def drift_process(job: DriftJob, folder: Path) -> Iterator[DriftProcess]:
    """Begin a report in `folder`; a build that ends early ends the process too."""
    # spawn: a forked child would inherit the threads' locks of DuckDB and of the progress bars
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_make, args=(job, folder), name="drift", daemon=True)
    process.start()
    try:
        yield DriftProcess(process, folder)
    finally:
        process.terminate()
        process.join()


def _make(job: DriftJob, folder: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    write_drift_report(job, folder)
    sys.stdout.flush()
    sys.stderr.flush()
    # DuckDB's binding complains of leaks when Python is taken down beside Evidently; nothing is left to tidy
    os._exit(0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the build was killed: nobody waits for this report
