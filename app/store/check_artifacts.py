"""`python -m app.store.check_artifacts PLACE`: all that is wrong with artifacts, before anyone serves them.

It stands alone as the command behind `scripts/check_artifacts`. What the service does with a new version is done here
too: look, fetch, check the contract, and open it.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from app.artifacts import contract
from app.artifacts.contract import ContractFault
from app.artifacts.folder import open_source
from app.artifacts.manifest import MANIFEST
from app.artifacts.source import ArtifactsUnreachable, CannotStore, Source, Version
from app.artifacts.unversioned import write_manifest
from app.artifacts.workspace import Workspace
from app.settings import Settings
from app.store.database import DatabaseError
from app.store.snapshot import BrokenArtifacts, OpenRules, open_snapshot

SOUND, FAULTY, UNREADABLE = 0, 1, 2


async def find_faults(source: Source, workspace: Workspace, rules: OpenRules) -> list[ContractFault]:
    """Return all faults of the version that lies there; ArtifactsUnreachable when there is none, CannotStore."""
    try:
        version = await source.look()
    except ValueError as error:
        return [ContractFault(MANIFEST, "unreadable", str(error))]
    folder = await asyncio.to_thread(workspace.make, version.id)
    faults = await _fetch(source, version, folder)
    await asyncio.to_thread(write_manifest, folder, version)
    known = {fault.file for fault in faults}
    faults += [fault for fault in await asyncio.to_thread(contract.check, folder) if fault.file not in known]
    return faults or await asyncio.to_thread(_open, version.id, folder, rules)


async def _fetch(source: Source, version: Version, folder: Path) -> list[ContractFault]:
    """Fetch the files; where that fails, one by one, so that every file that cannot be fetched is known."""
    try:
        await source.fetch(version, folder)
    except (ArtifactsUnreachable, ValueError):
        faults = []
        for name, file in version.files.items():
            single = Version(manifest=version.manifest, files={name: file})
            try:
                if not await asyncio.to_thread((folder / name).exists):
                    await source.fetch(single, folder)
            except ArtifactsUnreachable as error:
                faults.append(ContractFault(name, "unreachable", str(error)))
            except ValueError as error:
                faults.append(ContractFault(name, "folder-of-parts", str(error)))
        return faults
    return []


def _open(snapshot_id: str, folder: Path, rules: OpenRules) -> list[ContractFault]:
    """Open what keeps the contract, as the service will."""
    try:
        open_snapshot(snapshot_id, folder, rules).close()
    except BrokenArtifacts as error:
        return list(error.faults)
    except (OSError, ValueError, DatabaseError) as error:
        return [ContractFault("all files", "cannot-open", str(error).splitlines()[0])]
    return []


def main(arguments: Sequence[str]) -> int:
    """Check a place, print the faults, and return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/check_artifacts", description=__doc__.partition(":")[2].strip())
    parser.add_argument("place", help="a folder, or s3://bucket/prefix")
    settings = Settings()
    place = parser.parse_args(arguments).place
    cache = settings.touchline_home / "cache"
    limit_bytes = int(settings.artifact_cache_gb * 10**9)
    source = open_source(place, cache, limit_bytes=limit_bytes, silence_s=settings.artifact_silence_s)
    with Workspace(cache / "checks") as workspace:
        try:
            rules = OpenRules(feature_cache=workspace.make("features"))
            faults = asyncio.run(find_faults(source, workspace, rules))
        except (ArtifactsUnreachable, CannotStore) as error:
            print(f"{place} cannot be read: {workspace.redact(str(error))}", file=sys.stderr)  # noqa: T201
            return UNREADABLE
        for fault in faults:
            print(f"{fault.file}: {fault.code}: {workspace.redact(fault.detail)}")  # noqa: T201
    if faults:
        print(f"{len(faults)} faults: {place} cannot be served", file=sys.stderr)  # noqa: T201
        return FAULTY
    print(f"{place} can be served")  # noqa: T201
    return SOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
