"""Builds all artifacts from published results or a simulated league world, and registers the models behind them."""

import argparse
import contextlib
import errno
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from app.artifacts import contract
from app.artifacts.manifest import FileStamp, Manifest, read_manifest
from app.settings import Settings
from app.store.database import DatabaseError, open_connection
from app.store.money import MoneyRules
from worker.pipeline.drift.build_process import DriftProcess, drift_process
from worker.pipeline.drift.samples import DriftJob
from worker.pipeline.failures import BuildStopped
from worker.pipeline.features.form import build_features
from worker.pipeline.ingest.ingest_report import IngestReport
from worker.pipeline.ingest.reader import read_folder
from worker.pipeline.output.consensus_file import write_consensus
from worker.pipeline.output.history import EarlierHistory, extend_history
from worker.pipeline.output.odds_file import write_odds, write_prices
from worker.pipeline.output.predictions_file import write_predictions
from worker.pipeline.output.publication import Origin, publish, staging
from worker.pipeline.output.roi_tables import write_roi_tables
from worker.pipeline.output.value_bets import settle_matches
from worker.pipeline.progress import Progress, shown
from worker.pipeline.simulation.simulator import SOURCE_FILE, simulate
from worker.pipeline.study import EVER, as_dict, print_study, read_study
from worker.pipeline.summary import print_ingest, print_scores
from worker.pipeline.training.segments import predict_all
from worker.pipeline.training.training import TrainingResult, hold_out_before, train

if TYPE_CHECKING:
    from worker.pipeline.training.registry import Provenance, TrainingRegistry

DEFAULT_SEED = 7
CURRENT_SPAN = timedelta(days=365)  # drift looks at the last season and what is to come
REAL_SOURCE = "football-data.co.uk"
SIMULATED_SOURCE = "simulated"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build: from which folder (None: a simulated world of this seed), into which."""

    data: Path | None
    out: Path
    seed: int
    now: datetime
    aliases: Path | None = None

    @property
    def known_seed(self) -> int | None:
        """The seed, where it made the matches."""
        return self.seed if self.data is None else None

    @property
    def is_simulated(self) -> bool:
        """Whether the matches are made up; a simulated folder says so of itself, wherever it was copied."""
        return self.data is None or (self.data / SOURCE_FILE).is_file()

    def origin(self, data_until: datetime, features_computed_at: datetime, history_until: datetime) -> Origin:
        """What the manifest says of these matches."""
        return Origin(
            source=SIMULATED_SOURCE if self.is_simulated else REAL_SOURCE,
            simulated=self.is_simulated,
            seed=self.seed if self.is_simulated else None,
            data_until=data_until,
            features_computed_at=features_computed_at,
            history_until=history_until,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Build as the command line says; 0, or 1 after one sentence about what stopped it."""
    settings, console = Settings(), Console(stderr=True)
    try:
        plan = _plan(argv, settings)
        started = time.perf_counter()
        with shown() as progress:
            manifest = build(plan, settings, progress, console)
    except BuildStopped as stopped:
        return _stop(console, str(stopped))
    except KeyboardInterrupt:
        return _stop(console, "Interrupted; nothing was published.")
    except (OSError, DatabaseError, pa.ArrowException) as error:
        if not is_disk_full(error):
            raise
        return _stop(console, f"The disk is full: free some space near {settings.touchline_home} and build again.")
    files = len(manifest.files)
    console.print(f"Published {files} files to {plan.out} in {time.perf_counter() - started:.0f} s.")
    return 0


def _stop(console: Console, sentence: str) -> int:
    console.print(f"Stopped. {sentence}", style="bold red", highlight=False, soft_wrap=True)
    return 1


def is_disk_full(error: Exception) -> bool:
    return getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)


def _plan(argv: Sequence[str] | None, settings: Settings) -> Plan:
    parser = argparse.ArgumentParser(prog="build_artifacts", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of football-data.co.uk files; without it, a simulated world")
    parser.add_argument("--out", type=Path, help="artifacts folder (default: ARTIFACTS_URI when that is a folder)")
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="seed of the simulated world (default: %(default)s)"
    )
    parser.add_argument("--aliases", type=Path, help="JSON file of clubs that go by several names, by region")
    chosen = parser.parse_args(argv)
    if chosen.out is None and "://" in settings.artifacts_uri:
        raise BuildStopped(f"ARTIFACTS_URI is {settings.artifacts_uri}, not a folder: say where to build with --out.")
    if chosen.data is not None and not chosen.data.is_dir():
        raise BuildStopped(f"There is no folder {chosen.data}.")
    return Plan(chosen.data, chosen.out or Path(settings.artifacts_uri), chosen.seed, datetime.now(UTC), chosen.aliases)


def build(plan: Plan, settings: Settings, progress: Progress, console: Console) -> Manifest:
    """Every step from results to published artifacts; what is half done stays in folders that are then removed."""
    with work_folder(settings.touchline_home) as work, staging(plan.out) as staged:
        stage_matches(plan, work, staged, progress, tell=lambda report: print_ingest(console, report))
        return BuildSteps(plan, settings, progress, work, staged).run(console)


@contextmanager
def work_folder(home: Path) -> Iterator[Path]:
    parent = home / "work"
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob("build-*"):
        # no build takes a day: this one was killed
        if left.stat().st_mtime < time.time() - 86_400:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class StagedMatches:
    """The table of matches in the work folder, and what became of the rows of the source."""

    path: Path
    report: IngestReport


def stage_matches(
    plan: Plan,
    work: Path,
    staged: Path,
    progress: Progress,
    tell: Callable[[IngestReport], None] = lambda _report: None,
) -> StagedMatches:
    """Read the source: matches into the work folder, prices and the report on its rows into the staged one.

    `tell` gets the report, also where there are no matches and BuildStopped is raised.
    """
    folder = plan.data
    if folder is None:
        folder = work / "simulated"
        with progress.step("simulating leagues"):
            simulate(folder, seed=plan.seed, now=plan.now)
    ingest = read_folder(folder, progress, now=plan.now, aliases=plan.aliases)
    tell(ingest.report)
    if not ingest.matches.num_rows:
        raise BuildStopped(f"No matches were found in {plan.data}.")
    matches = work / "matches.parquet"
    pq.write_table(ingest.matches, matches, compression="zstd")
    write_json(ingest.report.as_dict(), staged / contract.INGEST)
    (staged / contract.PRICES).parent.mkdir(parents=True, exist_ok=True)
    write_prices(ingest.prices, matches, staged / contract.PRICES, simulated=plan.is_simulated)
    # the rows themselves go with this function: a gigabyte, while models are trained
    return StagedMatches(matches, ingest.report)


def write_json(content: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class BuildSteps:
    """The steps after reading, in a work folder and a staged artifacts folder."""

    def __init__(self, plan: Plan, settings: Settings, progress: Progress, work: Path, staged: Path) -> None:
        self._plan = plan
        self._settings = settings
        self._progress = progress
        self._staged = staged
        self._matches = work / "matches.parquet"
        self._features = staged / contract.FEATURES

    def run(self, console: Console) -> Manifest:
        """Features, models, predictions, money, drift, publication."""
        oldest, newest = results_span(self._matches)
        self._features.parent.mkdir(parents=True, exist_ok=True)
        build_features(self._matches, self._features, self._progress)
        features_computed_at = datetime.now(UTC)
        # Evidently is slow to import and leaves much memory behind, so it has a process of its own beside the training
        with drift_process(self._drift_job(oldest, newest), self._staged) as drift:
            registry = self._registry()
            trained = self._train(registry, console)
            rows = self._predict(trained)
            history_until = self.price_and_settle(rows)
            self._evaluate(trained, console)
            self._say_drift(drift)
        origin = self._plan.origin(newest, features_computed_at, history_until)
        with self._progress.step("checking the contract and publishing"):
            manifest = publish(self._staged, self._plan.out, origin, rows, datetime.now(UTC))
            # not before: until now workers answer with the models behind the artifacts that are served
            registry.promote(trained.champion, trained.candidate)
        return manifest

    def _drift_job(self, oldest: datetime, newest: datetime) -> DriftJob:
        reference_until = hold_out_before(newest)
        # a year fills the windows of form, where there are years to spare
        has_years = reference_until - oldest >= 2 * CURRENT_SPAN
        return DriftJob(
            matches=self._matches,
            features=self._features,
            reference_since=oldest + CURRENT_SPAN if has_years else oldest,
            reference_until=reference_until,
            current_since=newest - CURRENT_SPAN,
            computed_at=datetime.now(UTC),
            simulated=self._plan.is_simulated,
        )

    def _registry(self) -> "TrainingRegistry":
        # MLflow takes seconds to import, so it waits until it is needed
        from worker.pipeline.training.registry import TrainingRegistry  # noqa: PLC0415

        settings = self._settings
        artifact_root = settings.touchline_home / "mlflow" / "artifacts"
        return TrainingRegistry(settings.mlflow_tracking_uri, settings.model_name, artifact_root)

    def _train(self, registry: "TrainingRegistry", console: Console) -> TrainingResult:
        provenance = self.provenance(self._matches, self._features)
        result = train(self._matches, self._features, registry, provenance, self._progress)
        print_scores(console, result.scores)
        return result

    def _predict(self, trained: TrainingResult) -> dict[str, int]:
        probabilities = predict_all(self._matches, self._features, trained, self._progress)
        with self._progress.step("writing predictions"):
            n = write_predictions(self._matches, probabilities, self._staged / contract.PREDICTIONS, datetime.now(UTC))
        return {contract.PREDICTIONS: n, contract.FEATURES: n}

    def provenance(self, *files: Path) -> "Provenance":
        """What a model that is trained on these files was made from."""
        from worker.pipeline.training.registry import Provenance  # noqa: PLC0415

        checksums = {path.name: FileStamp.from_file(path).sha256 for path in files}
        simulated = self._plan.is_simulated
        return Provenance(
            data_source=SIMULATED_SOURCE if simulated else REAL_SOURCE,
            simulated=simulated,
            checksums=checksums,
            seed=self._plan.known_seed,
        )

    def price_and_settle(self, rows: dict[str, int]) -> datetime:
        """Odds, history and money of the staged predictions, with their counts in `rows`; the history's new end."""
        self._price()
        history_until = self._remember()
        # the history may know prices that this build does not
        for name in (contract.ODDS, contract.PRICES):
            rows[name] = pq.read_metadata(self._staged / name).num_rows
        self._weigh()
        self._settle()
        return history_until

    def _price(self) -> None:
        path = self._staged / contract.ODDS
        write_odds(
            self._matches,
            path,
            simulated=self._plan.is_simulated,
            prices=self._staged / contract.PRICES,
            bookmaker=self._settings.bookmaker,
        )

    def _remember(self) -> datetime:
        """Add to the history of the artifacts that these replace, if they are of the same world."""
        earlier = EarlierHistory(self._plan.out)
        if self._replaces_same_world():
            earlier = EarlierHistory.of_folder(self._plan.out, read_manifest(self._plan.out))
        with self._progress.step("adding to the history"):
            return extend_history(self._staged, earlier, datetime.now(UTC))

    def _replaces_same_world(self) -> bool:
        """Whether the artifacts that these replace are of the same world."""
        with contextlib.suppress(OSError, ValueError):
            manifest = read_manifest(self._plan.out)
            seed = self._plan.seed if self._plan.is_simulated else None
            return (manifest.simulated, manifest.seed) == (self._plan.is_simulated, seed)
        return False

    def _weigh(self) -> None:
        """Fit the consensus of model and bookmakers."""
        earlier = self._plan.out if self._replaces_same_world() else None
        with self._progress.step("weighing bookmakers and model"):
            write_consensus(self._staged, earlier, datetime.now(UTC))

    def _settle(self) -> None:
        rules = MoneyRules.from_settings(self._settings)
        with self._progress.step("settling value bets"):
            settled = settle_matches(self._staged, self._plan.now, rules)
            write_roi_tables(settled, list_regions(self._matches), self._staged, self._plan.now, rules)

    def _evaluate(self, trained: TrainingResult, console: Console) -> None:
        """Say how good all forecasts are beside each other, and whether edges mean what they say."""
        with self._progress.step("comparing forecasts and promises"):
            study = read_study(self._staged, EVER)
            scores = trained.scores.to_dict() | as_dict(study, trained.scores.since)
            write_json(scores, self._staged / contract.SCORES)
        print_study(console, study, forecasts_since=trained.scores.since, is_short=True)

    def _say_drift(self, drift: DriftProcess) -> None:
        with self._progress.step("comparing features with those of the training"):
            report = drift.result(self._staged / contract.PREDICTIONS)
        self._progress.note(f"drift: {report.summary}")


def results_span(matches: Path) -> tuple[datetime, datetime]:
    """Kick-off of the oldest and the newest match with a result."""
    with closing(open_connection()) as connection:
        query = "SELECT min(kickoff_utc), max(kickoff_utc) FROM read_parquet($matches) WHERE status = 'finished'"
        ((oldest, newest),) = connection.execute(query, {"matches": str(matches)}).fetchall()
    if newest is None:
        raise BuildStopped("None of the matches has a result, so there is nothing to learn from.")
    return oldest, newest


def list_regions(matches: Path) -> list[str]:
    with closing(open_connection()) as connection:
        query = "SELECT DISTINCT region FROM read_parquet($matches) ORDER BY region"
        return [region for (region,) in connection.execute(query, {"matches": str(matches)}).fetchall()]


if __name__ == "__main__":
    # as Ctrl-C: folders are cleared and the process for drift is ended
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
