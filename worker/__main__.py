"""`python -m worker [--processes N]`: the worker pool."""

import argparse

from app.settings import Settings
from app.telemetry.logging import set_up_logging
from worker.pool import WorkerPool


def main() -> None:
    """Read the settings, run the pool."""
    settings = Settings()
    parser = argparse.ArgumentParser(prog="python -m worker", description="Answers the prediction jobs in Redis.")
    parser.add_argument("--processes", type=int, default=settings.n_worker_processes, help="worker processes")
    arguments = parser.parse_args()
    set_up_logging(settings.log_level, settings.log_format)
    WorkerPool(settings, arguments.processes).run()


if __name__ == "__main__":
    main()
