"""Artifacts in a bucket, fetched into a cache."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from app.artifacts.contract import FOLDER_OF_PARTS
from app.artifacts.disk_cache import DiskCache
from app.artifacts.manifest import MANIFEST
from app.artifacts.source import ArtifactsUnreachable, FileVersion, Version
from app.artifacts.unversioned import NAMES, StabilityCheck, tag_of

T = TypeVar("T")
_CHUNK_BYTES = 2**20
_AT_ONCE = 4
_CONNECT_S = 3.0
_FETCH_S = 900.0  # a bucket that drips is as good as one that is silent
_FOLDERS = sorted({str(PurePosixPath(name).parent) for name in NAMES})


class BucketSource:
    """Artifacts below `s3://bucket/prefix`.

    Endpoint, region and credentials come from the environment and files that every S3 client reads. The work runs in
    a thread with a loop of its own: making a client reads files, and downloads write them; neither may hold up the
    requests.
    """

    def __init__(self, bucket: str, prefix: str, cache: DiskCache, silence_s: float) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._place = f"s3://{bucket}/{prefix}"
        self._cache = cache
        self._settling = StabilityCheck()
        self._descriptions: Any = None
        self._config = AioConfig(
            connect_timeout=min(_CONNECT_S, silence_s),
            read_timeout=silence_s,
            retries={"total_max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path"},
        )

    async def look(self) -> Version:
        """What the manifest vouches for; without one, the objects of the contract once they have settled."""
        return await self._with_client(self._look)

    async def wait_for_change(self, poll_s: float) -> None:
        """Sleep: every look at a bucket is a request that somebody pays for."""
        await asyncio.sleep(poll_s)

    async def fetch(self, version: Version, into: Path) -> None:
        """Download what the cache lacks, then link every file."""
        await asyncio.to_thread(self._cache.make_room, version)
        if await asyncio.to_thread(self._cache.lacks, version):
            await self._with_client(lambda client: self._fetch(client, version, into))
        else:
            # no client: a start without network gets here
            await asyncio.to_thread(self._link_all, version, into)

    async def keep(self, version: Version) -> None:
        """Remember it in the cache."""
        await asyncio.to_thread(self._cache.keep, self._place, version)

    async def read_kept_version(self) -> Version | None:
        """The version last kept, if its files are all in the cache."""
        return await asyncio.to_thread(self._cache.read_kept_version, self._place)

    async def invalidate(self, version: Version) -> None:
        """Forget the copies: what was whole when it was kept may be damaged now."""
        await asyncio.to_thread(self._cache.drop, [file.tag for file in version.files.values()])

    async def _look(self, client: Any) -> Version:
        try:
            found = await client.get_object(Bucket=self._bucket, Key=self._key(MANIFEST))
        except client.exceptions.NoSuchKey:
            if not await self._list(client):
                raise
            return await self._settling.version(lambda: self._list(client))
        async with found["Body"] as body:
            return Version.from_manifest(await body.read())

    async def _list(self, client: Any) -> Mapping[str, FileVersion]:
        found: dict[str, FileVersion] = {}
        pages = client.get_paginator("list_objects_v2")
        for folder in _FOLDERS:
            async for page in pages.paginate(Bucket=self._bucket, Prefix=self._key(f"{folder}/"), Delimiter="/"):
                self._refuse_folders_of_parts(page)
                for each in page.get("Contents", ()):
                    name = each["Key"].removeprefix(self._key(""))
                    tag = tag_of(self._place, name, each["ETag"])
                    found[name] = FileVersion(tag=tag, size_bytes=each["Size"], modified_at=each["LastModified"])
        return {name: found[name] for name in NAMES if name in found}

    def _refuse_folders_of_parts(self, page: Mapping[str, Any]) -> None:
        for each in page.get("CommonPrefixes", ()):
            name = each["Prefix"].removeprefix(self._key("")).rstrip("/")
            if name in NAMES:
                raise ValueError(f"s3://{self._bucket}/{self._key(name)} {FOLDER_OF_PARTS}")

    async def _fetch(self, client: Any, version: Version, into: Path) -> None:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def bring(name: str, file: FileVersion) -> None:
            async with turn:
                if not self._cache.link(file.tag, into / name):
                    await self._download(client, name, version, into / name)

        tasks = [asyncio.create_task(bring(name, file)) for name, file in version.files.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _download(self, client: Any, name: str, version: Version, target: Path) -> None:
        file = version.files[name]
        found = await client.get_object(Bucket=self._bucket, Key=self._key(name))
        # a body that is left half read would keep its connection
        async with found["Body"] as body:
            with self._cache.storing(file.tag, target) as part:
                async for chunk in body.iter_chunks(_CHUNK_BYTES):
                    part.write(chunk)
                if version.manifest is not None:
                    self._require(part.sha256() == file.tag, name, "is not what the manifest vouches for")
                else:
                    now, is_whole = tag_of(self._place, name, found["ETag"]), part.size_bytes == file.size_bytes
                    self._require(now == file.tag and is_whole, name, "changed since the listing")

    def _require(self, holds: bool, name: str, otherwise: str) -> None:  # noqa: FBT001  # it reads as a sentence
        if not holds:
            raise ArtifactsUnreachable(f"s3://{self._bucket}/{self._key(name)} {otherwise}")

    def _link_all(self, version: Version, into: Path) -> None:
        for name, file in version.files.items():
            self._require(self._cache.link(file.tag, into / name), name, "left the cache meanwhile")

    async def _with_client(self, work: Callable[[Any], Awaitable[T]]) -> T:
        async def run() -> T:
            async with self._client() as client, asyncio.timeout(_FETCH_S):
                return await work(client)

        return await asyncio.to_thread(lambda: asyncio.run(run()))

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        session = get_session()
        # the descriptions of S3 are read once: that is most of the time that it takes to make a client
        self._descriptions = self._descriptions or session.get_component("data_loader")
        session.register_component("data_loader", self._descriptions)
        try:
            async with session.create_client("s3", config=self._config) as client:
                yield client
        except (BotoCoreError, ClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ArtifactsUnreachable(f"{self._place}: {error or type(error).__name__}") from error

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name
