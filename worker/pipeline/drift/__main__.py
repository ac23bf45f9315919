"""Check artifacts for drift in a process with a bound on its memory; see scripts/drift."""

import argparse
import asyncio
import importlib.util
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from app.artifacts import contract
from app.artifacts.folder import open_source
from app.artifacts.source import ArtifactsUnreachable, CannotStore, Version
from app.domain.drift import CheckState
from app.runtime import set_parent_death_signal
from app.settings import Settings
from worker.pipeline.drift.drift_report import write_drift_report
from worker.pipeline.drift.windows import NothingToCompare, Training, check_job

NICE = 10  # whoever answers people goes first
_NEEDED = (contract.PREDICTIONS, contract.FEATURES, contract.DRIFT)


def main(argv: Sequence[str] | None = None) -> int:
    """Check as the command line says; the exit code tells the state."""
    settings = Settings()
    chosen = _arguments(argv, settings)
    _limit_resources(chosen.memory_mb)
    if chosen.with_parent:
        set_parent_death_signal(signal.SIGKILL, parent=os.getppid())
    if importlib.util.find_spec("evidently") is None:
        return _end(CheckState.NOT_INSTALLED, "Evidently is not installed; it comes with the extra 'batch'.")
    training = Training(chosen.trained_until, tuple(sys.stdin.read().split("\n")) if chosen.features_on_stdin else None)
    try:
        sentence = asyncio.run(_check(training, chosen.artifacts, chosen.out))
    except (NothingToCompare, ArtifactsUnreachable, CannotStore) as error:
        return _end(CheckState.NO_DATA, str(error))
    except MemoryError:
        return _end(CheckState.OUT_OF_MEMORY, f"It would have taken more than {chosen.memory_mb} MB.")
    return _end(CheckState.DONE, sentence)


def _arguments(argv: Sequence[str] | None, settings: Settings) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/drift", description="Compare features and predicted probabilities with those of the training."
    )
    parser.add_argument("--artifacts", default=settings.artifacts_uri, help="folder or bucket (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=settings.touchline_home, help="folder for reports/drift")
    parser.add_argument("--trained-until", type=_instant, help="end of the champion's training, as in 2024-07-01")
    parser.add_argument("--memory-mb", type=int, default=4096, help="bound on its memory (default: %(default)s)")
    parser.add_argument("--features-on-stdin", action="store_true", help="the training's features, a line each")
    parser.add_argument("--with-parent", action="store_true", help="end when the process that began this one ends")
    return parser.parse_args(argv)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _limit_resources(memory_mb: int) -> None:
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))


async def _check(training: Training, uri: str, out: Path) -> str:
    """Fetch what is needed, compare, and write; the report in a sentence."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    source = open_source(uri, out / "cache" / "drift")
    version = await source.look()
    files = {name: version.files[name] for name in _NEEDED if name in version.files}
    with tempfile.TemporaryDirectory(prefix="drift-", dir=work) as name:
        folder = Path(name)
        await source.fetch(Version(manifest=version.manifest, files=files), folder)
        if version.manifest is not None:
            (folder / contract.MANIFEST).write_text(version.manifest)
        job = check_job(folder, training, datetime.now(UTC))
        report = write_drift_report(job, out, lambda: folder / contract.PREDICTIONS)
    return report.summary


def _end(state: CheckState, sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()
    return state.exit_code


if __name__ == "__main__":
    code = main()
    # DuckDB's binding complains of leaks when Python is taken down beside Evidently; nothing is left to tidy
    os._exit(code)
