"""Files fetched from elsewhere, kept on disk under the tag of their version, within a bound.

Several processes may share the folder. Whoever uses a file holds a hard link to it, so nothing that is in use can go;
what takes a name here is whole; and the lock on an unfinished part tells whether its writer lives.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import structlog

from app.artifacts.source import CannotStore, Version

log = structlog.get_logger(__name__)
_UNUSED_AFTER_S = 86_400  # what no snapshot has used for a day goes, room or not
_YOUNG_S = 60  # a part so young may not have been locked yet
_TAG = re.compile("[0-9a-f]{64}")


class Part:
    """A file that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        """Append; CannotStore when the disk takes no more."""
        rest = memoryview(chunk)
        while rest:
            # a disk that fills up takes a part and says nothing: only the next write fails
            rest = rest[self._write(rest) :]
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    def _write(self, rest: memoryview) -> int:
        try:
            return self._file.write(rest)
        except OSError as error:
            raise CannotStore(f"the cache of artifacts: {error.strerror}") from error

    def sha256(self) -> str:
        """The checksum of all that was written."""
        return self._digest.hexdigest()


class DiskCache:
    """A folder of files by tag, and of the versions that were opened last."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes

    def link(self, tag: str, target: Path) -> bool:
        """Link a kept file; False when it is not there."""
        target.parent.mkdir(parents=True, exist_ok=True)
        kept = self._folder / tag
        try:
            os.link(kept, target)
            os.utime(kept)
        except FileNotFoundError:
            return False
        return True

    def lacks(self, version: Version) -> list[str]:
        """The names of the files that would have to be fetched."""
        return [name for name, file in version.files.items() if not (self._folder / file.tag).exists()]

    @contextmanager
    def storing(self, tag: str, target: Path) -> Iterator[Part]:
        """Write a new file: linked to `target` and kept once it is whole, nothing when writing it fails."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._folder, prefix="part-", buffering=0, delete=False) as file:
            path = Path(file.name)
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield Part(file)
                # first the link that holds it: from then on nobody can make room of it
                os.link(path, target)
                path.replace(self._folder / tag)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def make_room(self, version: Version) -> None:
        """Remove what nobody uses until the files that are still to come fit; CannotStore when they do not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        more_bytes = sum(version.files[name].size_bytes for name in self.lacks(version))
        wanted = {file.tag for file in version.files.values()} | self._wanted()
        free_bytes = self._limit_bytes - self._used_bytes() - more_bytes
        for path in self._unused(wanted):
            if free_bytes >= 0:
                return
            free_bytes += path.stat().st_size
            path.unlink(missing_ok=True)
        if free_bytes < 0 and more_bytes:
            raise CannotStore(
                f"the cache of artifacts lacks {-free_bytes:,} bytes: ARTIFACT_CACHE_GB allows {self._limit_bytes:,}, "
                f"{more_bytes:,} are to come, and what is in use cannot go"
            )

    def drop(self, tags: Collection[str]) -> None:
        """Forget files, whoever may still hold links to them."""
        for tag in tags:
            (self._folder / tag).unlink(missing_ok=True)

    def keep(self, place: str, version: Version) -> None:
        """Remember the version of a place that could be opened."""
        path = self._kept_path(place)
        try:
            with NamedTemporaryFile("w", dir=self._folder, prefix="kept-", delete=False, encoding="utf-8") as file:
                file.write(version.model_dump_json())
            Path(file.name).replace(path)
        except OSError as error:
            # it is served all the same; only a start without network would find an older one
            log.warning("the version could not be remembered", error=error.strerror)

    def read_kept_version(self, place: str) -> Version | None:
        """The version remembered of a place; None when there is none, or not all of its files."""
        try:
            version = Version.model_validate_json(self._kept_path(place).read_bytes())
        except (OSError, ValueError):
            return None
        return None if self.lacks(version) else version

    def _kept_path(self, place: str) -> Path:
        return self._folder / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.version"

    def _wanted(self) -> set[str]:
        """Tags of remembered versions: a start without network needs them."""
        tags = set()
        for path in self._folder.glob("*.version"):
            with contextlib.suppress(OSError, ValueError):
                tags |= {file.tag for file in Version.model_validate_json(path.read_bytes()).files.values()}
        return tags

    def _used_bytes(self) -> int:
        return sum(found.st_size for path, found in self._found() if path.suffix != ".version")

    def _unused(self, wanted: Collection[str]) -> list[Path]:
        """Files that no snapshot links to, the longest unused first."""
        unused = [
            (found.st_mtime, path)
            for path, found in self._found()
            if found.st_nlink == 1 and _TAG.fullmatch(path.name) and path.name not in wanted
        ]
        return [path for _, path in sorted(unused)]

    def _found(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()

    def _sweep(self) -> None:
        """Remove what has not been used for a day, and the parts of processes that were killed."""
        now = time.time()
        wanted = self._wanted()
        for path, found in list(self._found()):
            age_s = now - found.st_mtime
            is_unused = found.st_nlink == 1 and age_s > _UNUSED_AFTER_S
            is_left = path.name.startswith(("part-", "kept-")) and age_s > _YOUNG_S and _is_unlocked(path)
            if (is_unused and path.suffix != ".version" and path.name not in wanted) or is_left:
                path.unlink(missing_ok=True)


def _is_unlocked(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
