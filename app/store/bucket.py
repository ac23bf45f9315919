"""Artifacts in a bucket, brought to a local cache that is addressed by content."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from app.store.manifest import MANIFEST, FileStamp, Manifest
from app.store.source import ArtifactsUnreachable

_CHUNK_BYTES = 2**20
_UNUSED_AFTER_S = 86_400  # an object that no snapshot links to goes after a day
# endpoint, region and credentials come from the environment and files that every S3 client reads
_CONFIG = AioConfig(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3}, s3={"addressing_style": "path"})


class BucketSource:
    """Artifacts below `s3://bucket/prefix`.

    Its work runs in a thread with a loop of its own: the client reads dozens of description files when it is made,
    and downloads write to disk; neither may hold up the requests.
    """

    def __init__(self, bucket: str, prefix: str, cache: Path) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._cache = cache

    async def read_manifest(self) -> bytes:
        """The manifest as it is now."""
        return await asyncio.to_thread(lambda: asyncio.run(self._read_manifest()))

    async def fetch(self, manifest: Manifest, into: Path) -> None:
        """Download what the cache lacks, then link every file."""
        await asyncio.to_thread(lambda: asyncio.run(self._fetch(manifest, into)))

    async def _read_manifest(self) -> bytes:
        async with self._client() as client:
            found = await client.get_object(Bucket=self._bucket, Key=self._key(MANIFEST))
            body: bytes = await found["Body"].read()
            return body

    async def _fetch(self, manifest: Manifest, into: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        async with self._client() as client:
            for name, stamp in manifest.files.items():
                kept = self._cache / stamp.sha256
                if not kept.exists():
                    await self._download(client, name, stamp, kept)
                target = into / name
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(kept, target)
        self._forget_unused()

    async def _download(self, client: Any, name: str, stamp: FileStamp, kept: Path) -> None:
        found = await client.get_object(Bucket=self._bucket, Key=self._key(name))
        with _Part(kept) as part:
            async for chunk in found["Body"].iter_chunks(_CHUNK_BYTES):
                part.write(chunk)
            if part.sha256() != stamp.sha256:
                detail = f"s3://{self._bucket}/{self._key(name)} is not what the manifest vouches for"
                raise ArtifactsUnreachable(detail)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        try:
            async with get_session().create_client("s3", config=_CONFIG) as client:
                yield client
        except (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ArtifactsUnreachable(f"s3://{self._bucket}/{self._prefix}: {error}") from error

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _forget_unused(self) -> None:
        for path in self._cache.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                if found.st_nlink == 1 and time.time() - found.st_atime > _UNUSED_AFTER_S:
                    path.unlink()


class _Part:
    """A file that takes its name only when it is whole."""

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._digest = hashlib.sha256()
        # closed on leaving, like a file
        self._file = tempfile.NamedTemporaryFile(dir=kept.parent, prefix="part-", delete=False)  # noqa: SIM115

    def write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._file.write(chunk)

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        self._file.close()
        path = Path(self._file.name)
        if failure is None:
            path.replace(self._kept)
        else:
            path.unlink()
