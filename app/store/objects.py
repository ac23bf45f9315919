"""Where artifacts lie, and how a private copy of one version of them is made."""

import asyncio
import os
import shutil
from pathlib import Path

from app.store.bucket import BucketSource
from app.store.manifest import MANIFEST, Manifest
from app.store.source import ArtifactsUnreachable, Source


class FolderSource:
    """Artifacts in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read_manifest(self) -> bytes:
        """The manifest as it is now."""
        try:
            return await asyncio.to_thread((self._folder / MANIFEST).read_bytes)
        except OSError as error:
            raise ArtifactsUnreachable(f"{self._folder / MANIFEST}: {error.strerror}") from error

    async def fetch(self, manifest: Manifest, into: Path) -> None:
        """Link every file: a publisher renames new files into place, so a link keeps the old contents."""
        try:
            await asyncio.to_thread(self._link_all, manifest, into)
        except OSError as error:
            raise ArtifactsUnreachable(f"{error.filename}: {error.strerror}") from error

    def _link_all(self, manifest: Manifest, into: Path) -> None:
        for name in manifest.files:
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(self._folder / name, target)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        # another file system, or one without hard links
        shutil.copyfile(source, target)


def source_of(uri: str, cache: Path) -> Source:
    """The source behind a setting: `s3://bucket/prefix` or a folder."""
    if uri.startswith("s3://"):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return BucketSource(bucket, prefix.strip("/"), cache / "objects")
    return FolderSource(Path(uri))
