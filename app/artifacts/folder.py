"""Where artifacts lie, and how a private copy of one version of them is made."""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from app.artifacts.contract import FOLDER_OF_PARTS
from app.artifacts.manifest import MANIFEST
from app.artifacts.source import DISK_FULL, ArtifactsUnreachable, CannotStore, FileVersion, Source, Version
from app.artifacts.unversioned import NAMES, StabilityCheck, tag_of

GLANCES = 120  # of a folder's manifest between two looks: every half second for the default of 60 s
_LEAST_PAUSE_S = 0.05
_Stamp = tuple[int, int, int]


class FolderSource:
    """A folder into which a pipeline writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settling = StabilityCheck()
        self._manifest_stamp: _Stamp | None = None  # at the last look

    async def look(self) -> Version:
        """What the manifest vouches for; without one, the files of the contract once they have settled."""
        self._manifest_stamp = await asyncio.to_thread(_stamp, self._folder / MANIFEST)
        try:
            return Version.from_manifest(await asyncio.to_thread((self._folder / MANIFEST).read_bytes))
        except FileNotFoundError as error:
            if not await self._list():
                raise ArtifactsUnreachable(f"{self._folder / MANIFEST}: {error.strerror}") from error
        except OSError as error:
            raise ArtifactsUnreachable(f"{self._folder / MANIFEST}: {error.strerror}") from error
        return await self._settling.version(self._list)

    async def wait_for_change(self, poll_s: float) -> None:
        """Glance at the manifest, which is written last, GLANCES times in `poll_s`: a new build is seen at once."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + poll_s
        while (left_s := ends - loop.time()) > 0:
            await asyncio.sleep(min(left_s, max(poll_s / GLANCES, _LEAST_PAUSE_S)))
            if await asyncio.to_thread(_stamp, self._folder / MANIFEST) != self._manifest_stamp:
                return

    async def fetch(self, version: Version, into: Path) -> None:
        """Link what a manifest vouches for, since who writes one renames new files into place; copy anything else."""
        bring = _link_or_copy if version.manifest is not None else shutil.copyfile
        try:
            await asyncio.to_thread(self._bring_all, version, into, bring)
        except IsADirectoryError as error:
            raise ValueError(f"{error.filename} {FOLDER_OF_PARTS}") from error
        except OSError as error:
            if error.errno in DISK_FULL:
                raise CannotStore(f"the folder of snapshots: {error.strerror}") from error
            raise ArtifactsUnreachable(f"{error.filename}: {error.strerror}") from error
        if version.manifest is None and dict(await self._list()) != version.files:
            raise ArtifactsUnreachable("the files changed while they were copied")

    async def keep(self, version: Version) -> None:
        """Nothing: a folder is there at the next start."""

    async def read_kept_version(self) -> Version | None:
        """None."""
        return None

    async def invalidate(self, version: Version) -> None:
        """Nothing: there are no copies."""

    def _bring_all(self, version: Version, into: Path, bring: Callable[[Path, Path], object]) -> None:
        for name in version.files:
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            bring(self._folder / name, target)

    async def _list(self) -> Mapping[str, FileVersion]:
        return await asyncio.to_thread(lambda: {name: version for name in NAMES if (version := self._version_of(name))})

    def _version_of(self, name: str) -> FileVersion | None:
        try:
            status = (self._folder / name).stat()
        except OSError:
            return None
        if stat.S_ISDIR(status.st_mode):
            raise ValueError(f"{name} {FOLDER_OF_PARTS}")
        modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
        return FileVersion(
            tag=tag_of(status.st_size, status.st_mtime_ns), size_bytes=status.st_size, modified_at=modified_at
        )


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        # another file system, or one without hard links
        shutil.copyfile(source, target)


def open_source(uri: str, cache: Path, *, limit_bytes: int = 10 * 10**9, silence_s: float = 10.0) -> Source:
    """The source behind a setting: a folder, or `s3://bucket/prefix`.

    What is fetched from a bucket is kept below `cache` within the limit; one that is silent for so long has failed.
    """
    if uri.startswith("s3://"):
        # the client of S3 is a tenth of the time to start, and a folder needs none
        from app.artifacts.disk_cache import DiskCache  # noqa: PLC0415
        from app.artifacts.s3 import BucketSource  # noqa: PLC0415

        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return BucketSource(bucket, prefix.strip("/"), DiskCache(cache / "objects", limit_bytes), silence_s)
    return FolderSource(Path(uri))
