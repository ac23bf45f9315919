"""Artifacts of a folder into a bucket and back, against a real S3 server."""

import asyncio
import json
from pathlib import Path

import pytest

from app.artifacts.contract import MANIFEST, PREDICTIONS, check, read_manifest
from tests.support.build_artifacts import write_artifacts
from tests.support.s3 import BUCKET, KEY, S3, SECRET, s3
from worker.pipeline.failures import BuildStopped
from worker.pipeline.output.bucket import download, upload

URI = f"s3://{BUCKET}/some/place"
pytestmark = pytest.mark.timeout(600)
__all__ = ["s3"]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, s3: S3) -> None:
    """As every S3 client finds them."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    for name, value in zip(names, (s3.endpoint, KEY, SECRET, "us-east-1"), strict=True):
        monkeypatch.setenv(name, value)


def contents(folder: Path) -> dict[str, bytes]:
    names = [*read_manifest(folder).files, MANIFEST]
    return {name: (folder / name).read_bytes() for name in names}


async def test_what_was_put_comes_back_and_only_changes_are_put_again(s3: S3, tmp_path: Path) -> None:
    first, copy = tmp_path / "first", tmp_path / "copy" / "artifacts"
    await asyncio.to_thread(write_artifacts, first)
    copy.mkdir(parents=True)
    await download(URI, copy)  # an empty bucket has nothing to bring
    assert not (copy / MANIFEST).exists()
    n_files = len(await asyncio.to_thread(contents, first))
    assert await upload(first, URI) == n_files
    assert await upload(first, URI) == 1  # the manifest, which is put last and always
    await download(URI, copy)
    assert await asyncio.to_thread(contents, copy) == await asyncio.to_thread(contents, first)
    assert await asyncio.to_thread(check, copy) == ()

    second = tmp_path / "second"
    await asyncio.to_thread(write_artifacts, second, seed=7)
    assert 1 < await upload(second, URI) <= n_files
    await download(URI, copy)
    assert await asyncio.to_thread(contents, copy) == await asyncio.to_thread(contents, second)


async def test_the_manifest_is_put_last(s3: S3, tmp_path: Path) -> None:
    """So that it never vouches for a file that is not there."""
    folder = tmp_path / "artifacts"
    await asyncio.to_thread(write_artifacts, folder)
    await asyncio.to_thread((folder / PREDICTIONS).unlink)
    with pytest.raises(BuildStopped, match="could not be put"):
        await upload(folder, f"{URI}/broken")
    async with s3.client() as client:
        listed = await client.list_objects_v2(Bucket=BUCKET, Prefix="some/place/broken/")
    assert not any(each["Key"].endswith(MANIFEST) for each in listed.get("Contents", ()))


async def test_a_bucket_that_is_away_is_one_sentence(s3: S3, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    await asyncio.to_thread(write_artifacts, folder)
    with pytest.raises(BuildStopped, match="cannot be read"):
        await download("s3://no-such-bucket/x", folder)
    with pytest.raises(BuildStopped, match="could not be put"):
        await upload(folder, "s3://no-such-bucket/x")
    assert json.loads(await asyncio.to_thread((folder / MANIFEST).read_bytes))
