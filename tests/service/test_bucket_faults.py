"""A bucket that fails in every way: the old snapshot serves on, and operators see why."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from app import appkeys
from app.artifacts.contract import FEATURES, MANIFEST, PREDICTIONS
from tests.support.build_artifacts import write_artifacts
from tests.support.s3 import BUCKET, KEY, S3, SECRET
from tests.support.s3_proxy import Proxy, Spoil, answer, corrupt, proxy, reset, stall, truncate
from tests.support.serving import Client, Serve, json_of, until

pytestmark = pytest.mark.timeout(600)  # the server starts, and every client reads its descriptions


@pytest.fixture
async def way(monkeypatch: pytest.MonkeyPatch, s3: S3) -> AsyncIterator[Proxy]:
    """A proxy before the server, where S3 clients look for it."""
    async with proxy(s3.endpoint) as opened:
        for name, value in {
            "AWS_ENDPOINT_URL": opened.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield opened


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Of this test alone."""
    return f"{request.node.name.replace('[', '-').replace(']', '').replace(' ', '-')}-{time.time_ns()}"


def upload(s3: S3, folder: Path, prefix: str) -> None:
    asyncio.run(s3.upload(folder, prefix))


def upload_newer(s3: S3, folder: Path, prefix: str) -> None:
    upload(s3, write_artifacts(folder, n_matches=70, seed=7), prefix)


async def is_well(client: Client) -> bool:
    """Whether a look finds what can be served."""
    return (await client.app[appkeys.SNAPSHOTS].refresh()).fault is None


FAULTS: dict[str, tuple[str, Spoil, str]] = {
    "403 for the manifest": (MANIFEST, answer(403, "AccessDenied"), "AccessDenied"),
    "500 for the manifest": (MANIFEST, answer(500, "InternalError"), "InternalError"),
    "503 for a file": (FEATURES, answer(503, "SlowDown"), "SlowDown"),
    "a file that is gone": (FEATURES, answer(404, "NoSuchKey"), "NoSuchKey"),
    "a file that stalls": (FEATURES, stall, "imeout"),
    "a reset": (FEATURES, reset, "onnection"),
    "a truncated file": (FEATURES, truncate, "payload"),
    "a corrupt file": (FEATURES, corrupt, "checksum"),
    "a manifest that stalls": (MANIFEST, stall, "imeout"),
}


async def test_old_snapshot_serves_on_whatever_the_bucket_does(
    serve: Serve, s3: S3, way: Proxy, artifacts: Path, tmp_path: Path, prefix: str
) -> None:
    """Answers say stale, /readyz and one line of the log say why, and all is well when the bucket is."""
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    client = await serve(artifacts_uri=f"s3://{BUCKET}/{prefix}", artifact_silence_s=2)
    assert await is_well(client)
    await asyncio.to_thread(upload_newer, s3, tmp_path / "newer", prefix)
    for case, (text, spoil, why) in FAULTS.items():
        way.spoils = {text: spoil}
        with structlog.testing.capture_logs() as logs:
            assert not await is_well(client), case
            assert spoil is stall or not await is_well(client), case
        said = [line["detail"] for line in logs if line["event"] == "artifacts.rejected"]
        assert len(said) == 1, case
        assert why in said[0]
        assert SECRET not in said[0]
        served = await json_of(client, "/predict/predictions/")
        assert (served["count"], served["snapshot"]["stale"]) == (60, True), case
        assert said[0] in (await json_of(client, "/readyz", need="reads"))["parts"][0]["detail"]
    assert client.app[appkeys.SNAPSHOTS].fault_kind == "unreachable"
    way.spoils = {}
    await until(lambda: is_well(client), timeout_s=60)
    assert (await json_of(client, "/predict/predictions/"))["count"] == 70
    assert not list((tmp_path / "home/cache/objects").glob("part-*"))


async def test_a_key_that_vanishes_between_listing_and_reading(
    serve: Serve, s3: S3, way: Proxy, artifacts: Path, prefix: str
) -> None:
    """In a bucket without a manifest; the next look takes what is there then."""
    (artifacts / MANIFEST).unlink()
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    key = f"{prefix}/{PREDICTIONS}"
    whole = await asyncio.to_thread((artifacts / PREDICTIONS).read_bytes)

    async def vanish(path: str) -> None:
        if path.startswith(f"/{BUCKET}/{key}"):
            async with s3.client() as bucket:
                await bucket.delete_object(Bucket=BUCKET, Key=key)

    way.before = vanish
    client = await serve(artifacts_uri=f"s3://{BUCKET}/{prefix}")
    assert (await client.get("/predict/cards/")).status == 503
    assert "NoSuchKey" in str(client.app[appkeys.SNAPSHOTS].fault)
    way.before = None
    async with s3.client() as bucket:
        await bucket.put_object(Bucket=BUCKET, Key=key, Body=whole)
    await until(lambda: is_well(client), timeout_s=60)
    facts = (await json_of(client, "/predict/predictions/"))["snapshot"]
    assert (facts["has_manifest"], facts["source"]) == (False, None)


async def test_start_without_network_serves_what_was_opened_last(
    serve: Serve, s3: S3, way: Proxy, artifacts: Path, prefix: str
) -> None:
    """It says that this is old and why; when the bucket is back it is not fetched again."""
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    uri = f"s3://{BUCKET}/{prefix}"
    await (await serve(artifacts_uri=uri)).close()
    way.spoils[BUCKET] = reset
    client = await serve(artifacts_uri=uri)
    served = await json_of(client, "/predict/predictions/")
    assert (served["count"], served["snapshot"]["stale"]) == (60, True)
    ready = await json_of(client, "/readyz", need="reads")
    assert ready["degraded"]
    assert f"artifacts cannot be read: {uri}" in ready["parts"][0]["detail"]
    way.spoils.clear()
    way.asked.clear()
    await until(lambda: is_well(client), timeout_s=60)
    assert {path.partition("?")[0] for path in way.asked} == {f"/{BUCKET}/{prefix}/{MANIFEST}"}
    assert (await json_of(client, "/predict/predictions/"))["snapshot"]["stale"] is False


async def test_an_object_that_is_not_what_the_manifest_vouches_for_is_not_kept(
    serve: Serve, s3: S3, way: Proxy, artifacts: Path, tmp_path: Path, prefix: str
) -> None:
    """The cache holds only what is whole: processes that share it take a file by its name."""
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    other = await asyncio.to_thread((artifacts / PREDICTIONS).read_bytes)
    async with s3.client() as bucket:
        await bucket.put_object(Bucket=BUCKET, Key=f"{prefix}/{FEATURES}", Body=other)
    client = await serve(artifacts_uri=f"s3://{BUCKET}/{prefix}")
    assert f"{FEATURES} is not what the manifest vouches for" in str(client.app[appkeys.SNAPSHOTS].fault)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "home/cache/objects").glob("?" * 64)}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()} == {
        name: name for name in kept
    }


async def test_damaged_copies_are_fetched_anew(
    serve: Serve, s3: S3, way: Proxy, artifacts: Path, tmp_path: Path, prefix: str
) -> None:
    """A disk that rots must not keep a service from its artifacts for ever."""
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    uri = f"s3://{BUCKET}/{prefix}"
    await (await serve(artifacts_uri=uri)).close()
    for path in (tmp_path / "home/cache/objects").glob("?" * 64):
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    client = await serve(artifacts_uri=uri)
    await until(lambda: is_well(client), timeout_s=60)
    assert (await json_of(client, "/predict/predictions/"))["count"] == 60


async def test_processes_share_a_cache(serve: Serve, s3: S3, way: Proxy, artifacts: Path, prefix: str) -> None:
    """What one has fetched the others need not, and several that fetch at once do not disturb each other."""
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    uri = f"s3://{BUCKET}/{prefix}"
    clients = await asyncio.gather(*[serve(artifacts_uri=uri) for _ in range(3)])
    for client in clients:
        assert (await json_of(client, "/predict/predictions/"))["snapshot"]["stale"] is False
    way.asked.clear()
    late = await serve(artifacts_uri=uri)
    assert (await json_of(late, "/predict/predictions/"))["snapshot"]["stale"] is False
    assert {path.partition("?")[0] for path in way.asked} == {f"/{BUCKET}/{prefix}/{MANIFEST}"}


async def test_cache_that_is_too_small_is_said(
    serve: Serve, s3: S3, way: Proxy, artifacts: Path, tmp_path: Path, prefix: str
) -> None:
    """The bound holds: what does not fit is not fetched, and the old snapshot serves on."""
    await asyncio.to_thread(upload, s3, artifacts, prefix)
    size_bytes = sum(path.stat().st_size for path in artifacts.rglob("*") if path.is_file())
    client = await serve(artifacts_uri=f"s3://{BUCKET}/{prefix}", artifact_cache_gb=1.2 * size_bytes / 1e9)
    assert await is_well(client)
    await asyncio.to_thread(upload_newer, s3, tmp_path / "newer", prefix)
    assert not await is_well(client)
    assert client.app[appkeys.SNAPSHOTS].fault_kind == "storage"
    assert "ARTIFACT_CACHE_GB" in str(client.app[appkeys.SNAPSHOTS].fault)
    assert (await json_of(client, "/predict/predictions/"))["count"] == 60
