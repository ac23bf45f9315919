"""Keep the artifacts of a bucket in a folder beside: a refresh works on files, and a bucket is where they are served.

The manifest is put last, as in a folder: a reader that looks in between keeps what it has.
"""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from app.artifacts.folder import open_source
from app.artifacts.manifest import MANIFEST, Manifest, read_manifest
from app.artifacts.source import ArtifactsUnreachable, CannotStore
from worker.pipeline.failures import BuildStopped

_AT_ONCE = 4
_TIMEOUTS = {"connect_timeout": 10.0, "read_timeout": 60.0, "retries": {"total_max_attempts": 4, "mode": "standard"}}


async def download(uri: str, folder: Path) -> None:
    """Bring what the bucket has into a folder that does not hold the same; nothing when the bucket is empty."""
    source = open_source(uri, folder.parent / "cache")
    try:
        version = await source.look()
        if version.manifest is None or await asyncio.to_thread(_is_same, folder, version.manifest):
            return
        fresh = await asyncio.to_thread(_make_beside, folder)
        await source.fetch(version, fresh)
        await asyncio.to_thread(_replace, folder, fresh, version.manifest)
    except CannotStore as error:
        raise BuildStopped(str(error)) from error
    except ArtifactsUnreachable as error:
        if not await _is_empty(uri):
            raise BuildStopped(f"The artifacts in {uri} cannot be read: {error}") from error


async def upload(folder: Path, uri: str) -> int:
    """Put every file that the bucket does not have yet, the manifest last; how many were put."""
    bucket, prefix = _split(uri)
    manifest = await asyncio.to_thread(read_manifest, folder)
    try:
        async with _client() as client:
            there = await _read_manifest(client, bucket, prefix + MANIFEST)
            names = [name for name, stamp in manifest.files.items() if there is None or there.files.get(name) != stamp]
            turn = asyncio.Semaphore(_AT_ONCE)

            async def put(name: str) -> None:
                async with turn:
                    body = await asyncio.to_thread((folder / name).read_bytes)
                    await client.put_object(Bucket=bucket, Key=prefix + name, Body=body)

            await asyncio.gather(*(put(name) for name in names))
            await put(MANIFEST)
    except (BotoCoreError, ClientError, OSError) as error:
        raise BuildStopped(f"The artifacts could not be put into {uri}: {error}") from error
    return len(names) + 1


def _split(uri: str) -> tuple[str, str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def _client() -> Any:
    return get_session().create_client("s3", config=AioConfig(s3={"addressing_style": "path"}, **_TIMEOUTS))


async def _read_manifest(client: Any, bucket: str, key: str) -> Manifest | None:
    try:
        answer = await client.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return Manifest.model_validate_json(await body.read())
    except client.exceptions.NoSuchKey:
        return None
    except ValueError:
        return None  # then every file is put


def _make_beside(folder: Path) -> Path:
    fresh = folder.with_name(f".{folder.name}.fetched")
    shutil.rmtree(fresh, ignore_errors=True)  # what a killed refresh left
    fresh.mkdir(parents=True)
    return fresh


def _replace(folder: Path, fresh: Path, manifest: str) -> None:
    (fresh / MANIFEST).write_text(manifest, "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


async def _is_empty(uri: str) -> bool:
    bucket, prefix = _split(uri)
    try:
        async with _client() as client:
            listed = await client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
            return not listed.get("Contents")
    except (BotoCoreError, ClientError, OSError):
        return False


def _is_same(folder: Path, manifest: str) -> bool:
    try:
        return (folder / MANIFEST).read_text("utf-8") == manifest
    except OSError:
        return False
