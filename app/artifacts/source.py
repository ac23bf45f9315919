"""What a place of artifacts must offer, and what a version of the artifacts there is."""

import errno
import hashlib
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.artifacts.manifest import MANIFEST, Manifest

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class ArtifactsUnreachable(Exception):
    """The place of the artifacts cannot be read; the message says why."""


class CannotStore(Exception):
    """There is no room for the artifacts on this machine; the message says why."""


class FileVersion(BaseModel):
    """One file as it is now: a tag that changes with its contents, and what a listing says beside it."""

    model_config = ConfigDict(frozen=True)

    tag: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int
    modified_at: AwareDatetime | None = None


class Version(BaseModel):
    """The artifacts as they are now: their manifest, if they have one, and the version of every file."""

    model_config = ConfigDict(frozen=True)

    manifest: str | None
    files: dict[str, FileVersion]

    @property
    def id(self) -> str:
        """The name of the snapshot: equal for equal versions, wherever they are looked at."""
        known = self.manifest
        if known is None:
            known = "\n".join(f"{name} {file.tag}" for name, file in sorted(self.files.items()))
        return hashlib.sha256(known.encode()).hexdigest()[:16]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(file.size_bytes for file in self.files.values())

    @classmethod
    def from_manifest(cls, raw: bytes) -> Self:
        """What a manifest vouches for; ValueError when it is none, or lists a path outside the folder."""
        try:
            manifest = Manifest.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{MANIFEST}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from None
        strays = [name for name in manifest.files if ".." in PurePosixPath(name).parts or Path(name).is_absolute()]
        if strays:
            raise ValueError(f"the manifest lists a path outside the folder: {strays[0]}")
        files = {
            name: FileVersion(tag=stamp.sha256, size_bytes=stamp.size_bytes) for name, stamp in manifest.files.items()
        }
        return cls(manifest=raw.decode(), files=files)


class Source(Protocol):
    """A folder or bucket prefix that holds artifacts."""

    async def look(self) -> Version:
        """The version that lies there now; ArtifactsUnreachable when that cannot be told."""
        ...

    async def wait_for_change(self, poll_s: float) -> None:
        """Return when the next look is due: after `poll_s`, or sooner where a change shows at no cost."""
        ...

    async def fetch(self, version: Version, into: Path) -> None:
        """Bring every file of a version into a private folder; ArtifactsUnreachable, CannotStore."""
        ...

    async def keep(self, version: Version) -> None:
        """Remember a version that could be opened, for a start at which the place cannot be reached."""
        ...

    async def read_kept_version(self) -> Version | None:
        """The version last kept, if this source keeps any; to fetch it takes no network."""
        ...

    async def invalidate(self, version: Version) -> None:
        """Forget the copies of these files: they are not what they should be."""
        ...
