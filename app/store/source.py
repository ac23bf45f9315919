"""What a place of artifacts must offer."""

from pathlib import Path
from typing import Protocol

from app.store.manifest import Manifest


class ArtifactsUnreachable(Exception):
    """The place of the artifacts cannot be read; the message says why."""


class Source(Protocol):
    """A folder or bucket prefix that holds a manifest and the files it lists."""

    async def read_manifest(self) -> bytes:
        """The manifest as it is now; ArtifactsUnreachable when it cannot be had."""
        ...

    async def fetch(self, manifest: Manifest, into: Path) -> None:
        """Bring every file of the manifest, which itself is already there, into a private folder."""
        ...
