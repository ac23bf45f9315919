"""Puts finished artifacts where the service reads them: staged beside the target, checked, then moved, manifest last.

A reader that looks in between finds an old manifest that does not vouch for the new files, and keeps what it has.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.store import contract
from app.store.manifest import MANIFEST, FileStamp, Manifest
from worker.batch.failures import BuildStopped


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the matches came from and how old they are; goes into the manifest."""

    source: str
    simulated: bool
    seed: int | None
    data_until: datetime | None
    features_computed_at: datetime


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, on the same file system; one build at a time, gone at the end."""
    parent = target.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.staging-"
    with (parent / f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildStopped(f"Another build is writing to {target}; wait for it or choose another --out.") from None
        # what a killed build left behind
        for left in parent.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Path, target: Path, origin: Origin, rows: Mapping[str, int], built_at: datetime) -> Manifest:
    """Stamp and check a staged folder and move its files into `target`; `rows` are counts by file for the manifest.

    Raises BuildStopped with every fault when the contract does not hold; the target is then as it was.
    """
    names = [name for name in (*contract.FILES, *contract.OPTIONAL) if (staged / name).is_file()]
    manifest = Manifest(
        source=origin.source,
        simulated=origin.simulated,
        built_at=built_at,
        data_until=origin.data_until,
        features_computed_at=origin.features_computed_at,
        seed=origin.seed,
        files={name: FileStamp.of(staged / name, rows.get(name)) for name in names},
    )
    (staged / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    # the checksums were computed a moment ago
    faults = contract.check(staged, checksums=False)
    if faults:
        said = "; ".join(f"{fault.file}: {fault.detail} ({fault.code})" for fault in faults)
        raise BuildStopped(f"The artifacts break their contract and were not published. {said}")
    _move(staged, target, names)
    return manifest


def _move(staged: Path, target: Path, names: list[str]) -> None:
    for name in (*names, MANIFEST):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _to_disk(staged / name)
    for name in (*names, MANIFEST):
        (staged / name).replace(target / name)
    # a report of the build before is not one of this build
    for name in set(contract.OPTIONAL) - set(names):
        (target / name).unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    # a renamed file whose bytes are not on the disk yet would be empty after a power cut
    with path.open("rb") as file:
        os.fsync(file.fileno())
