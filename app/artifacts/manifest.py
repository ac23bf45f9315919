"""The manifest of an artifacts folder: where it came from, how old it is, and what each file should be."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

MANIFEST = "manifest.json"


class FileStamp(BaseModel):
    """What one file of the folder was when it was published."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    rows: int | None = None

    @classmethod
    def from_file(cls, path: Path, rows: int | None = None) -> "FileStamp":
        """Stamp a file as it is now."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(sha256=digest, size_bytes=path.stat().st_size, rows=rows)


class Manifest(BaseModel):
    """Origin and age of an artifacts folder; written last, so that it vouches for the files beside it."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    source: str | None
    simulated: bool | None
    built_at: AwareDatetime
    data_until: AwareDatetime | None
    features_computed_at: AwareDatetime
    seed: int | None = None
    # true when the reader made it, of files that came without one: source and simulated are then unknown
    is_derived: bool = False
    # nothing is ever added to the history that was known by then; None: there is none
    history_until: AwareDatetime | None = None
    files: dict[str, FileStamp]


def read_manifest(folder: Path) -> Manifest:
    """Read a folder's manifest; OSError when it cannot be read, ValueError when it is not one."""
    return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
