"""A disk that takes no more while new artifacts come: a limit of the system stands for it."""

import asyncio
import os
import resource
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from app.artifacts.contract import MANIFEST
from infra.local.children import Child, Command
from tests.support.build_artifacts import write_artifacts
from tests.support.s3 import BUCKET, KEY, S3, SECRET
from tests.support.serving import NO_REDIS, until

pytestmark = pytest.mark.timeout(600)  # a process starts and imports everything


class Api:
    """A process of the API."""

    def __init__(self, session: aiohttp.ClientSession, child: Child) -> None:
        self._session = session
        self._pid = child.pid

    def limit_files(self, size_bytes: int) -> None:
        """No file that it writes may grow beyond this, as if the disk were full."""
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    async def json(self, path: str, method: str = "GET") -> dict[str, object]:
        async with self._session.request(method, path) as response:
            assert response.status == 200
            answer: dict[str, object] = await response.json()
            return answer

    async def is_ready(self) -> bool:
        try:
            async with self._session.get("/readyz?need=reads") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def running(home: Path, **environ: str) -> AsyncIterator[Api]:
    """A process that is ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {"APP_PORT": str(port), "TOUCHLINE_HOME": str(home), "REDIS_URL": NO_REDIS, "LOG_FORMAT": "json"}
    command = Command("api", [sys.executable, "-m", "app"], log=home / "api.log", env=settings | environ)
    child = await asyncio.to_thread(Child, command)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            api = Api(session, child)
            await until(api.is_ready, timeout_s=60)
            yield api
    finally:
        await asyncio.to_thread(child.stop)


async def test_no_room_for_files_from_a_bucket(s3: S3, artifacts: Path, tmp_path: Path) -> None:
    """The old snapshot serves on, operators see why, and when there is room again the new one comes."""
    prefix = f"full-{os.getpid()}"
    await s3.upload(artifacts, prefix)
    bucket = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    uri = f"s3://{BUCKET}/{prefix}"
    async with running(tmp_path / "home", ARTIFACTS_URI=uri, AWS_DEFAULT_REGION="us-east-1", **bucket) as api:
        await s3.upload(await asyncio.to_thread(write_artifacts, tmp_path / "newer", n_matches=70, seed=7), prefix)
        api.limit_files(500)
        look = await api.json("/artifacts/refresh", "POST")
        assert (look["changed"], look["fault"]) == (
            False,
            "artifacts cannot be stored: the cache of artifacts: File too large",
        )
        assert (await api.json("/predict/predictions/"))["count"] == 60
        api.limit_files(2**30)
        look = await api.json("/artifacts/refresh", "POST")
        assert (look["changed"], look["fault"]) == (True, None)
        assert (await api.json("/predict/predictions/"))["count"] == 70


async def test_no_room_for_copies_of_a_folder(tmp_path: Path) -> None:
    """Files without a manifest are copied; there is no room for that either."""
    artifacts = await asyncio.to_thread(write_artifacts, tmp_path / "artifacts")
    (artifacts / MANIFEST).unlink()
    async with running(tmp_path / "home", ARTIFACTS_URI=str(artifacts)) as api:
        await asyncio.to_thread(write_artifacts, artifacts, n_matches=70, seed=7)
        (artifacts / MANIFEST).unlink()
        api.limit_files(500)
        look = await api.json("/artifacts/refresh", "POST")
        assert look["fault"] == "artifacts cannot be stored: the folder of snapshots: File too large"
        assert (await api.json("/predict/predictions/"))["count"] == 60


async def test_no_room_for_the_twin_of_the_features(tmp_path: Path) -> None:
    """New artifacts are served all the same; it is said that feature rows are read slowly, and why."""
    artifacts = await asyncio.to_thread(write_artifacts, tmp_path / "artifacts")
    async with running(tmp_path / "home", ARTIFACTS_URI=str(artifacts)) as api:
        # the manifest, about 1,800 bytes, must fit; 80 rows of 6 features do not
        fits = (artifacts / MANIFEST).stat().st_size + 1
        await asyncio.to_thread(write_artifacts, artifacts, n_matches=fits // 24 + 50, seed=7)
        api.limit_files(fits + 20)
        assert (await api.json("/artifacts/refresh", "POST"))["changed"] is True

        async def is_said() -> bool:
            parts = (await api.json("/readyz?need=reads"))["parts"]
            return "feature rows are read slowly: File too large" in str(parts)

        await until(is_said, timeout_s=60)


async def test_no_room_for_rows_as_json(artifacts: Path, tmp_path: Path) -> None:
    """The new snapshot is served from DuckDB, with the same bytes as before, and leaves no half of a file."""
    home = tmp_path / "home"
    async with running(home, ARTIFACTS_URI=str(artifacts)) as api:
        await asyncio.to_thread(write_artifacts, artifacts, n_matches=70, seed=7)
        api.limit_files(50_000)
        assert (await api.json("/artifacts/refresh", "POST"))["changed"]

        async def is_told() -> bool:
            return "rows.not_written" in await asyncio.to_thread((home / "api.log").read_text)

        await until(is_told, timeout_s=60)
        assert "File too large" in await asyncio.to_thread((home / "api.log").read_text)
        page = await api.json("/predict/cards/?limit=70")
        items = page["items"]
        assert isinstance(items, list)
        assert len(items) == 70
        for card in items[:5]:
            one = await api.json(f"/predict/precomputed/{card['match_id']}")
            assert one["probabilities"] == card["probabilities"]
            assert (await api.json(f"/predict/odds/{card['match_id']}/history"))["match_id"] == card["match_id"]

        async def folders() -> list[Path]:
            return await asyncio.to_thread(lambda: list(home.glob("cache/snapshots/*/*/rows")))

        async def is_old_one_gone() -> bool:
            return len(await folders()) == 1

        await until(is_old_one_gone, timeout_s=60)
        (left,) = await folders()
        assert await asyncio.to_thread(os.listdir, left) == []
