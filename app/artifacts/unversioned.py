"""Artifacts that come without a manifest: when they have settled, and what can be said of them all the same."""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.artifacts.contract import FEATURES, FILES, OPTIONAL, PREDICTIONS
from app.artifacts.manifest import MANIFEST, FileStamp, Manifest
from app.artifacts.source import ArtifactsUnreachable, FileVersion, Version

NAMES = (*FILES, *OPTIONAL)
_TRIES = 6

ListFiles = Callable[[], Awaitable[Mapping[str, FileVersion]]]


def tag_of(*parts: object) -> str:
    """The tag of a file's version, from what a listing tells of it."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


class StabilityCheck:
    """Takes a listing for a version when two in a row are equal: a file that grows is not whole yet."""

    def __init__(self, settle_s: float = 0.5) -> None:
        self._settle_s = settle_s
        self._settled: Mapping[str, FileVersion] | None = None

    async def version(self, list_files: ListFiles) -> Version:
        """The version that has settled; ArtifactsUnreachable while the files keep changing."""
        seen = await list_files()
        for _ in range(_TRIES):
            if seen == self._settled:
                return Version(manifest=None, files=dict(seen))
            self._settled = seen
            await asyncio.sleep(self._settle_s)
            seen = await list_files()
        raise ArtifactsUnreachable("the files are still being written")


def write_manifest(folder: Path, version: Version) -> None:
    """Write the manifest of a version's private folder; of one without, what its files say.

    What they do not say is null, and the times are those of the files.
    """
    if version.manifest is not None:
        (folder / MANIFEST).write_text(version.manifest, encoding="utf-8")
        return
    modified = {name: file.modified_at for name, file in version.files.items() if file.modified_at}
    newest = max(modified.values(), default=datetime.now(UTC))
    manifest = Manifest(
        source=None,
        simulated=None,
        built_at=newest,
        data_until=_newest_result(folder / PREDICTIONS),
        features_computed_at=modified.get(FEATURES, newest),
        is_derived=True,
        files={name: FileStamp.from_file(folder / name) for name in version.files},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")


def _newest_result(predictions: Path) -> datetime | None:
    # whatever is wrong with the file, the contract will say it
    with contextlib.suppress(OSError, ValueError, pa.ArrowException):
        table = pq.read_table(predictions, columns=["kickoff_utc", "status"])
        finished = table.filter(pc.equal(table["status"].cast(pa.string()), "finished"))
        newest: datetime | None = pc.max(finished["kickoff_utc"].cast(pa.timestamp("us", "UTC"))).as_py()
        return newest
    return None
