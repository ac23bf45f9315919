"""Artifacts in a bucket, from a real S3 server."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from app import appkeys
from app.artifacts.contract import PREDICTIONS
from app.artifacts.disk_cache import DiskCache
from app.artifacts.s3 import BucketSource
from app.artifacts.source import ArtifactsUnreachable
from tests.support.build_artifacts import write_artifacts
from tests.support.s3 import BUCKET, KEY, S3, SECRET
from tests.support.serving import Serve, json_of

pytestmark = pytest.mark.timeout(600)  # the server starts, and every client reads its descriptions


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, s3: S3) -> None:
    """As every S3 client finds them."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


def upload(s3: S3, folder: Path, prefix: str) -> None:
    asyncio.run(s3.upload(folder, prefix))


async def test_artifacts_come_from_a_bucket_and_change_with_it(
    serve: Serve, s3: S3, artifacts: Path, tmp_path: Path
) -> None:
    """What has not changed is not downloaded again."""
    await asyncio.to_thread(upload, s3, artifacts, "one/prefix")
    client = await serve(artifacts_uri=f"s3://{BUCKET}/one/prefix")
    assert (await json_of(client, "/predict/predictions/"))["count"] == 60
    objects = tmp_path / "home/cache/objects"
    before = {path.name for path in objects.iterdir()}
    newer = await asyncio.to_thread(lambda: write_artifacts(tmp_path / "newer", odds_share=0.5))
    await asyncio.to_thread(upload, s3, newer, "one/prefix")
    await client.app[appkeys.SNAPSHOTS].refresh()
    odds = await json_of(client, "/predict/odds/")
    assert odds["count"] < 45
    assert odds["snapshot"]["stale"] is False
    assert len(before & {path.name for path in objects.iterdir()}) == len(before)


async def test_object_that_is_not_the_published_one_is_refused(serve: Serve, s3: S3, artifacts: Path) -> None:
    await asyncio.to_thread(upload, s3, artifacts, "broken")
    client = await serve(artifacts_uri=f"s3://{BUCKET}/broken")
    (artifacts / "manifest.json").write_text(
        (artifacts / "manifest.json").read_text().replace('"seed": 0', '"seed": 1')
    )
    (artifacts / PREDICTIONS).write_bytes(b"PAR1 but no more")
    manifest = (artifacts / "manifest.json").read_text()
    stamped = manifest[manifest.index(PREDICTIONS) :].split('"')[4]
    (artifacts / "manifest.json").write_text(manifest.replace(stamped, "0" * 64))
    await asyncio.to_thread(upload, s3, artifacts, "broken")
    await client.app[appkeys.SNAPSHOTS].refresh()
    assert (await json_of(client, "/predict/predictions/"))["snapshot"]["stale"] is True
    fault = client.app[appkeys.SNAPSHOTS].fault
    assert fault is not None
    assert "vouches" in fault


async def test_download_that_breaks_off_is_a_source_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        source = BucketSource(BUCKET, "broken/off", DiskCache(tmp_path / "objects", 10**9), silence_s=5)
        with pytest.raises(ArtifactsUnreachable, match="broken/off") as caught:
            await source.look()
    assert isinstance(caught.value.__cause__, aiohttp.ClientError)


@pytest.mark.parametrize("case", ["missing", "denied"])
async def test_bucket_that_cannot_be_read_is_named(
    serve: Serve, s3: S3, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    if case == "denied":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    client = await serve(artifacts_uri=f"s3://{BUCKET}/nothing/here")
    response = await client.get("/predict/cards/")
    detail = (await response.json())["detail"]
    assert response.status == 503
    assert f"s3://{BUCKET}/nothing/here" in detail
    assert SECRET not in detail
