"""Refresh artifacts: new results and fixtures, predicted by the registry's champion, priced, settled and published.

What was said of a match that has begun stays as it was said; matches to come are predicted anew, by the champion.
A refresh that fails publishes nothing. It runs as a process of its own (`python -m worker.pipeline.refresh`), so that
its memory goes when it ends, and it can be killed at any point.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from app.artifacts import contract
from app.artifacts.manifest import Manifest, read_manifest
from app.runtime import set_parent_death_signal
from app.settings import Settings
from app.store.database import DatabaseError
from worker.pipeline.build import (
    DEFAULT_SEED,
    BuildSteps,
    Plan,
    build,
    is_disk_full,
    results_span,
    stage_matches,
    work_folder,
)
from worker.pipeline.failures import BuildStopped
from worker.pipeline.features.form import build_features
from worker.pipeline.fetch import FetchOutcome, FetchPlan, fetch, parse_leagues
from worker.pipeline.output.bucket import download, upload
from worker.pipeline.output.predictions_file import write_predictions
from worker.pipeline.output.publication import publish, staging
from worker.pipeline.progress import Progress, shown

if TYPE_CHECKING:
    from worker.predictors import LoadedModel

CHAMPION = "champion"
CANDIDATE = "candidate"
# made by a build or a check, not by a refresh: each says its own age
_CARRIED = (contract.DRIFT, contract.DRIFT_HTML, contract.SCORES)
_SMALLEST_SHARE = 0.9  # of the matches that are served; with fewer, files of the source are missing
_KEPT_COLUMNS = (
    "match_id", "proba_home", "proba_draw", "proba_away", "predicted_class",
    "model_name", "model_version", "model_stage", "model_run_id", "in_sample",
)  # fmt: skip
_CHUNK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class RefreshSummary:
    """What a refresh published."""

    matches: int
    results: int  # more than before
    upcoming: int
    moved: int  # upcoming matches whose probabilities are others than before
    model_version: str
    trained: str | None  # the version that a retraining registered
    fetch_failures: int
    took_s: float

    def sentence(self) -> str:
        """For people."""
        parts = [
            f"{self.results:,} new results, {self.upcoming:,} matches to come ({self.moved:,} forecasts moved), "
            f"{self.matches:,} in all, by version {self.model_version}, in {self.took_s:.0f} s"
        ]
        if self.trained:
            parts.append(f"version {self.trained} trained")
        if self.fetch_failures:
            parts.append(f"{self.fetch_failures} files could not be fetched")
        return "; ".join(parts) + "."


def refresh(plan: Plan, settings: Settings, progress: Progress) -> RefreshSummary:
    """Refresh the artifacts of `plan.out`, which a build has published; BuildStopped when they cannot be."""
    started = time.perf_counter()
    before = _read_published(plan)
    with work_folder(settings.touchline_home) as work, staging(plan.out) as staged:
        source = stage_matches(plan, work, staged, progress)
        table = pq.read_table(source.path, columns=["match_id", "kickoff_utc", "status"])
        _refuse_losses(before, table.num_rows, plan)
        matches, features = source.path, staged / contract.FEATURES
        _oldest, newest = results_span(matches)
        features.parent.mkdir(parents=True, exist_ok=True)
        build_features(matches, features, progress)
        features_computed_at = datetime.now(UTC)
        with progress.step("loading the champion"):
            champion = load_champion(settings)
        kept = _Kept.read(plan.out / contract.PREDICTIONS)
        with progress.step("predicting matches to come"):
            forecast = _forecast(table, features, champion, kept, plan.now)
            n = write_predictions(matches, forecast.table, staged / contract.PREDICTIONS, plan.now)
        rows = {contract.PREDICTIONS: n, contract.FEATURES: n}
        history_until = BuildSteps(plan, settings, progress, work, staged).price_and_settle(rows)
        _carry(plan.out, staged)
        with progress.step("checking the contract and publishing"):
            origin = plan.origin(newest, features_computed_at, history_until)
            publish(staged, plan.out, origin, rows, datetime.now(UTC))
    return RefreshSummary(
        matches=n,
        results=_count_finished(table) - kept.n_finished,
        upcoming=source.report.n_upcoming,
        moved=forecast.n_moved,
        model_version=champion.info.version,
        trained=None,
        fetch_failures=0,
        took_s=time.perf_counter() - started,
    )


def load_champion(settings: Settings) -> "LoadedModel":
    """Return the model that the registry names now, verified as a worker verifies it."""
    # MLflow takes seconds to import
    from worker.predictors import ModelRefused  # noqa: PLC0415
    from worker.registry import REGISTRY_ERRORS, ModelRegistry  # noqa: PLC0415

    try:
        registry = ModelRegistry(settings)
        version = registry.version_of(CHAMPION)
        if version is None:
            raise BuildStopped(f"The registry names no {CHAMPION} of {settings.model_name}.")
        return registry.load(CHAMPION, version)
    except ModelRefused as error:
        raise BuildStopped(f"The {CHAMPION} cannot predict: {error}") from error
    except REGISTRY_ERRORS as error:
        raise BuildStopped(f"The model registry cannot be read: {error}") from error


def _read_published(plan: Plan) -> Manifest:
    try:
        manifest = read_manifest(plan.out)
    except (OSError, ValueError) as error:
        raise BuildStopped(f"There are no artifacts in {plan.out} to refresh: {error}") from error
    if manifest.simulated is not plan.is_simulated:
        raise BuildStopped(f"The artifacts in {plan.out} are of another source: build them again.")
    return manifest


def _refuse_losses(before: Manifest, n_matches: int, plan: Plan) -> None:
    n_before = before.files[contract.PREDICTIONS].rows or 0
    if n_matches < _SMALLEST_SHARE * n_before:
        raise BuildStopped(
            f"{plan.data} has {n_matches:,} matches where {n_before:,} are served: files are missing. "
            "Build again if that is meant."
        )


def _carry(out: Path, staged: Path) -> None:
    for name in _CARRIED:
        if (out / name).is_file():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(out / name, staged / name)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was said of each match before."""

    table: pa.Table
    n_finished: int

    @classmethod
    def read(cls, path: Path) -> "_Kept":
        table = pq.read_table(path, columns=[*_KEPT_COLUMNS, "computed_at", "status"])
        return cls(table.drop_columns("status"), _count_finished(table))


def _count_finished(matches: pa.Table) -> int:
    return sum(status == "finished" for status in matches["status"].to_pylist())


@dataclass(frozen=True, slots=True)
class _Forecast:
    """Probabilities of every match, and how many of those to come are others than before."""

    table: pa.Table
    n_moved: int


def _forecast(matches: pa.Table, features: Path, champion: "LoadedModel", kept: _Kept, now: datetime) -> _Forecast:
    """Predict what is to come and what was never predicted; everything else stays as it was said."""
    ids = matches["match_id"].to_numpy()
    kickoff = np.asarray(matches["kickoff_utc"].cast(pa.timestamp("us")), dtype="datetime64[us]")
    known = {match_id: row for row, match_id in enumerate(kept.table["match_id"].to_pylist())}
    rows_before = np.array([known.get(match_id, -1) for match_id in ids.tolist()], np.int64)
    moment = np.datetime64(now.replace(tzinfo=None), "us")
    is_fresh = (kickoff > moment) | (rows_before < 0)
    positions = np.flatnonzero(is_fresh)
    probabilities = np.empty((0, 3))  # in summer nothing may be to come, and no model takes a table without rows
    if len(positions):
        probabilities = champion.predictor.probabilities(_rows_of(features, champion.names, positions))
    fresh = _table_of(ids[positions], probabilities, champion, _in_sample(kickoff[positions], champion))
    before = kept.table.take(pa.array(rows_before[~is_fresh])).rename_columns([*_KEPT_COLUMNS, "predicted_at"])
    moved = _count_moved(kept.table, rows_before[positions], probabilities)
    return _Forecast(pa.concat_tables([before.cast(fresh.schema), fresh]), moved)


def _rows_of(features: Path, names: Sequence[str], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Read the named columns of a few rows, group by group: the whole matrix of all matches is half a gigabyte."""
    rows = np.empty((len(positions), len(names)), np.float32)
    start = done = 0
    with pq.ParquetFile(features) as stored:
        missing = set(names) - set(stored.schema_arrow.names)
        if missing:
            raise BuildStopped(f"The champion takes features that there are not: {', '.join(sorted(missing)[:5])}.")
        for group in range(stored.num_row_groups):
            n = stored.metadata.row_group(group).num_rows
            wanted = positions[(positions >= start) & (positions < start + n)] - start
            if len(wanted):
                part = stored.read_row_group(group, list(names)).take(pa.array(wanted))
                for column, name in enumerate(names):
                    rows[done : done + len(wanted), column] = part[name].to_numpy()
            start, done = start + n, done + len(wanted)
    return rows


def _in_sample(kickoff: npt.NDArray[np.datetime64], champion: "LoadedModel") -> npt.NDArray[np.bool_]:
    """Which of these matches the champion may have been trained on; all, where nobody knows."""
    until = champion.info.trained_until
    if until is None:
        return np.ones(len(kickoff), np.bool_)
    return np.asarray(kickoff < np.datetime64(until.astimezone(UTC).replace(tzinfo=None), "us"))


def _table_of(
    ids: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    champion: "LoadedModel",
    in_sample: npt.NDArray[np.bool_],
) -> pa.Table:
    n, info = len(ids), champion.info
    return pa.table(
        {
            "match_id": pa.array(ids, pa.int64()),
            "proba_home": probabilities[:, 0],
            "proba_draw": probabilities[:, 1],
            "proba_away": probabilities[:, 2],
            "predicted_class": pa.array(probabilities.argmax(axis=1).astype(np.int8)),
            "model_name": pa.array([info.name] * n, pa.string()),
            "model_version": pa.array([info.version] * n, pa.string()),
            "model_stage": pa.array([CHAMPION] * n, pa.string()),
            "model_run_id": pa.array([info.run_id] * n, pa.string()),
            "in_sample": pa.array(in_sample),
            "predicted_at": pa.nulls(n, pa.timestamp("us", "UTC")),
        }
    )


def _count_moved(before: pa.Table, rows: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]) -> int:
    known = rows >= 0
    old = before.select(["proba_home", "proba_draw", "proba_away"]).take(pa.array(rows[known]))
    values = np.column_stack([old[name].to_numpy() for name in old.column_names])
    return int((values != probabilities[known]).any(axis=1).sum())


def retrain(plan: Plan, settings: Settings, progress: Progress) -> str:
    """Train the champion's recipe on what is published now, as the candidate; the version that was registered.

    With PROMOTION=auto it is the champion too, at once; else somebody compares and promotes it.
    """
    from worker.pipeline.training.fitting import Dataset, fit  # noqa: PLC0415 - heavy
    from worker.pipeline.training.hold_out_scores import score_hold_out  # noqa: PLC0415 - heavy
    from worker.pipeline.training.registry import TrainingRegistry  # noqa: PLC0415 - heavy
    from worker.pipeline.training.training import champion_recipe, golden_rows, hold_out_start  # noqa: PLC0415 - heavy

    with work_folder(settings.touchline_home) as work:
        matches, features = stage_matches(plan, work, work, progress).path, work / "features.parquet"
        build_features(matches, features, progress)
        dataset = Dataset.read(matches, features)
        until = hold_out_start(dataset)
        with progress.step("training a candidate"):
            fitted = fit(dataset, champion_recipe(), until)
            scores = score_hold_out(dataset, {CANDIDATE: fitted}, until)
        registry = TrainingRegistry(
            settings.mlflow_tracking_uri, settings.model_name, settings.touchline_home / "mlflow" / "artifacts"
        )
        provenance = BuildSteps(plan, settings, progress, work, work).provenance(matches, features)
        golden = golden_rows(dataset, fitted, until)
        with progress.step("registering the candidate"):
            version = registry.register(fitted, CANDIDATE, scores.metrics(CANDIDATE), provenance, golden, {})
            registry.promote(version)
            if settings.promotion == "auto":
                registry.promote(replace(version, alias=CHAMPION))
    return version.version


def is_retraining_due(settings: Settings, now: datetime) -> bool:
    """Whether the registry's newest version is older than RETRAIN_DAYS."""
    if not settings.retrain_days:
        return False
    from worker.registry import REGISTRY_ERRORS, ModelRegistry  # noqa: PLC0415 - MLflow takes seconds to import

    try:
        versions = ModelRegistry(settings).list_versions()
    except REGISTRY_ERRORS as error:
        raise BuildStopped(f"The model registry cannot be read: {error}") from error
    return not versions or now - versions[0].registered_at >= timedelta(days=settings.retrain_days)


def source_folder(settings: Settings) -> Path:
    """The folder that a refresh reads; BuildStopped when there is no source."""
    if settings.source_folder is not None:
        return settings.source_folder
    if settings.source_leagues:
        return settings.touchline_home / "data"
    raise BuildStopped("There is no source to refresh from: set SOURCE_LEAGUES or SOURCE_FOLDER.")


def run(settings: Settings, progress: Progress, console: Console, now: datetime) -> RefreshSummary:
    """Fetch where leagues are named, refresh (or build, where there is nothing yet), and retrain when it is due."""
    folder = source_folder(settings)
    failures = 0
    if settings.source_leagues:
        leagues = parse_leagues(settings.source_leagues)
        found = asyncio.run(fetch(FetchPlan(settings.source_url, leagues, settings.source_since, folder, now), console))
        failures = sum(each.outcome is FetchOutcome.FAILED for each in found)
        if found and failures == len(found):
            raise BuildStopped(f"Nothing could be fetched from {settings.source_url}: {found[0].detail}.")
    if not folder.is_dir():
        raise BuildStopped(f"There is no folder {folder}.")
    is_bucket = settings.artifacts_uri.startswith("s3://")
    out = settings.touchline_home / "artifacts" if is_bucket else Path(settings.artifacts_uri)
    plan = Plan(folder, out, DEFAULT_SEED, now)
    if is_bucket:
        asyncio.run(download(settings.artifacts_uri, out))
    if not (plan.out / contract.MANIFEST).is_file():
        build(plan, settings, progress, console)
    summary = refresh(plan, settings, progress)
    if is_bucket:
        with progress.step(f"putting artifacts into {settings.artifacts_uri}"):
            asyncio.run(upload(out, settings.artifacts_uri))
    trained = retrain(plan, settings, progress) if is_retraining_due(settings, now) else None
    return replace(summary, trained=trained, fetch_failures=failures)


def main(argv: Sequence[str] | None = None) -> int:
    """Refresh once; the summary as JSON on standard output, or 1 and one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m worker.pipeline.refresh", description=__doc__)
    parser.add_argument("--with-parent", action="store_true", help="end when the process that began this one ends")
    chosen = parser.parse_args(argv)
    if chosen.with_parent:
        set_parent_death_signal(signal.SIGKILL, parent=os.getppid())
    settings, console = Settings(), Console(stderr=True)
    try:
        with shown() as progress:
            summary = run(settings, progress, console, datetime.now(UTC))
    except BuildStopped as stopped:
        sys.stderr.write(f"Stopped. {stopped}\n")
        return 1
    except (OSError, DatabaseError, pa.ArrowException) as error:
        if not is_disk_full(error):
            raise
        sys.stderr.write("Stopped. The disk is full.\n")
        return 1
    sys.stdout.write(json.dumps(asdict(summary)) + "\n")
    sys.stderr.write(summary.sentence() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
