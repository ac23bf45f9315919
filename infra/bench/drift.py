"""How long a drift report takes, and how much memory, from parquet files to page."""

import argparse
import os
import resource
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from worker.pipeline.drift.drift_report import write_drift_report
from worker.pipeline.drift.samples import DriftJob

START = datetime(2020, 1, 1, tzinfo=UTC)
CUT = START + timedelta(days=1000)


def main(argv: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="scripts/bench drift", description=__doc__)
    parser.add_argument("--features", type=int, default=508)
    parser.add_argument("--rows", type=int, default=50_000, help="of each window")
    chosen = parser.parse_args(argv)
    with TemporaryDirectory(prefix="touchline-bench-") as name:
        folder = Path(name)
        job, predictions = _write(folder, chosen.features, chosen.rows)
        started = perf_counter()
        report = write_drift_report(job, folder, lambda: predictions)
        took_s = perf_counter() - started
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    console = Console(soft_wrap=True)
    console.print(f"{report.summary}")
    console.print(
        f"{chosen.features} features, {chosen.rows} rows a window: {took_s:.0f} s, {memory_mb:.0f} MB at most"
    )
    # DuckDB's binding complains of leaks when Python is taken down beside Evidently
    os._exit(0)


def _write(folder: Path, n_features: int, rows: int) -> tuple[DriftJob, Path]:
    """Matches with noise for features, half of them in each window; one feature in ten moves."""
    rng, n = np.random.default_rng(0), 2 * rows
    ids = {"match_id": pa.array(np.arange(n))}
    late = np.arange(n) >= rows
    kickoffs = [CUT + timedelta(minutes=float(minute)) for minute in np.arange(-rows, rows)]
    probabilities = rng.dirichlet([4, 3, 3], n)
    predictions, features = folder / "predictions.parquet", folder / "features.parquet"
    columns = {f"proba_{side}": probabilities[:, place] for place, side in enumerate(("home", "draw", "away"))}
    kickoff_utc = pa.array(kickoffs, pa.timestamp("us", "UTC"))
    facts = {"kickoff_utc": kickoff_utc, "status": ["finished"] * n, "in_sample": np.zeros(n, dtype=bool)}
    facts["model_version"] = np.where(late, "2", "1")
    pq.write_table(pa.table(ids | facts | columns), predictions)
    noise = {
        f"f{number}": (rng.normal(size=n) + late * (number % 10 == 0)).astype(np.float32)
        for number in range(n_features)
    }
    pq.write_table(pa.table(ids | noise), features)
    job = DriftJob(predictions, features, START, CUT, CUT, datetime.now(UTC), simulated=True, rows=rows)
    return job, predictions
