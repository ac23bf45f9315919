"""Puts finished artifacts where the service reads them: staged beside the target, checked, then moved, manifest last.

A reader that looks in between finds an old manifest that does not vouch for the new files, and keeps what it has.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.artifacts import contract
from app.artifacts.manifest import MANIFEST, FileStamp, Manifest, read_manifest
from worker.pipeline.failures import BuildStopped


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the matches came from and how old they are; goes into the manifest."""

    source: str
    simulated: bool
    seed: int | None
    data_until: datetime | None
    features_computed_at: datetime
    history_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class FolderChanged:
    """Files that a change wrote, each with its rows, and where the history ends now."""

    rows: Mapping[str, int]
    history_until: datetime | None


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """An empty folder on the file system of `target`, beside it; one build at a time, gone at the end.

    In a volume that is mounted at `target` it is hidden inside: what is beside it is another file system.
    """
    parent = target.absolute() if target.is_mount() else target.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.staging-"
    with (parent / f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildStopped(f"Another build is writing to {target}; wait for it or choose another folder.") from None
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
    names = [name for name in (*contract.FILES, *contract.OPTIONAL, *_history(staged)) if (staged / name).is_file()]
    manifest = Manifest(
        source=origin.source,
        simulated=origin.simulated,
        built_at=built_at,
        data_until=origin.data_until,
        features_computed_at=origin.features_computed_at,
        seed=origin.seed,
        history_until=origin.history_until,
        files={name: FileStamp.from_file(staged / name, rows.get(name)) for name in names},
    )
    _write_manifest(staged, manifest)
    # the checksums were computed a moment ago
    _refuse(contract.check(staged, checksums=False), "The artifacts break their contract and were not published.")
    _move(staged, target, names)
    # a report of the build before is not one of this build
    for name in set(contract.OPTIONAL) - set(names):
        (target / name).unlink(missing_ok=True)
    return manifest


def republish(target: Path, change: Callable[[Path, Manifest], FolderChanged]) -> Manifest:
    """Replace or add files of a published folder; `change` works in a copy of it in which all others are links.

    Raises BuildStopped when the folder breaks the contract, or would; it is then as it was.
    """
    if not (target / MANIFEST).is_file():
        raise BuildStopped(f"There is no {MANIFEST} in {target}: it is no artifacts folder.")
    with staging(target) as staged:
        _refuse(contract.check(target), f"{target} breaks the contract as it is: build it again.")
        manifest = read_manifest(target)
        for name in manifest.files:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).symlink_to((target / name).resolve())
        changed = change(staged, manifest)
        stamps = {name: FileStamp.from_file(staged / name, rows) for name, rows in changed.rows.items()}
        update = {"files": manifest.files | stamps, "history_until": changed.history_until}
        manifest = manifest.model_copy(update=update)
        _write_manifest(staged, manifest)
        said = ", ".join(changed.rows)
        _refuse(contract.check(staged, checksums=False), f"The new {said} breaks the contract and was not published.")
        _move(staged, target, list(changed.rows))
    return manifest


def _history(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in folder.glob("history/*/*/*")]
    return sorted(name for name in names if contract.history_kind(name))


def _write_manifest(staged: Path, manifest: Manifest) -> None:
    (staged / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _refuse(faults: Sequence[contract.ContractFault], sentence: str) -> None:
    if faults:
        said = "; ".join(f"{fault.file}: {fault.detail} ({fault.code})" for fault in faults)
        raise BuildStopped(f"{sentence} {said}")


def _move(staged: Path, target: Path, names: list[str]) -> None:
    # what is linked lies in its place already, and is never written again
    moved = [name for name in (*names, MANIFEST) if not (staged / name).is_symlink()]
    for name in moved:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _to_disk(staged / name)
    for name in moved:
        (staged / name).replace(target / name)


def _to_disk(path: Path) -> None:
    # a renamed file whose bytes are not on the disk yet would be empty after a power cut
    with path.open("rb") as file:
        os.fsync(file.fileno())
