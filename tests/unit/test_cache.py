"""The cache of fetched files."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from app.artifacts.disk_cache import DiskCache
from app.artifacts.source import CannotStore, FileVersion, Version

TAGS = {name: letter * 64 for name, letter in (("old", "a"), ("mid", "b"), ("new", "c"))}


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    """Room for 250 bytes."""
    (tmp_path / "cache").mkdir()
    return DiskCache(tmp_path / "cache", 250)


def version(*names: str, size_bytes: int = 100) -> Version:
    files = {name: FileVersion(tag=TAGS[name], size_bytes=size_bytes) for name in names}
    return Version(manifest=None, files=files)


def store(cache: DiskCache, name: str, target: Path) -> None:
    """Store 100 bytes that `target` uses."""
    with cache.storing(TAGS[name], target) as part:
        part.write(b"x" * 100)


def store_unused(cache: DiskCache, folder: Path, *names: str) -> None:
    for age, name in enumerate(reversed(names)):
        store(cache, name, folder / "target")
        (folder / "target").unlink()
        at = time.time() - 60 * age
        os.utime(folder / "cache" / TAGS[name], (at, at))


def kept_in(folder: Path) -> set[str]:
    names = {tag: name for name, tag in TAGS.items()}
    return {names[path.name] for path in (folder / "cache").iterdir() if path.name in names}


def test_a_file_is_kept_and_linked(cache: DiskCache, tmp_path: Path) -> None:
    store(cache, "old", tmp_path / "one/file")
    assert cache.link(TAGS["old"], tmp_path / "other/file")
    assert (tmp_path / "other/file").read_bytes() == b"x" * 100
    assert cache.lacks(version("old", "new")) == ["new"]
    assert not cache.link(TAGS["new"], tmp_path / "new")


def test_a_file_that_could_not_be_written_whole_is_not_kept(cache: DiskCache, tmp_path: Path) -> None:
    def break_off() -> None:
        with cache.storing(TAGS["old"], tmp_path / "target") as part:
            part.write(b"half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        break_off()
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "target").exists()


def test_the_longest_unused_goes_when_room_is_needed(cache: DiskCache, tmp_path: Path) -> None:
    store_unused(cache, tmp_path, "old", "mid")
    cache.make_room(version("new"))
    assert kept_in(tmp_path) == {"mid"}


def test_nothing_goes_while_there_is_room(cache: DiskCache, tmp_path: Path) -> None:
    store_unused(cache, tmp_path, "old", "mid")
    cache.make_room(version("new", size_bytes=50))
    assert kept_in(tmp_path) == {"old", "mid"}


def test_what_is_in_use_stays_and_the_bound_holds(cache: DiskCache, tmp_path: Path) -> None:
    """Whoever needs more than is free is told so."""
    store(cache, "old", tmp_path / "used-by-one")
    store(cache, "mid", tmp_path / "used-by-other")
    with pytest.raises(CannotStore, match="lacks 50 bytes"):
        cache.make_room(version("new"))
    assert kept_in(tmp_path) == {"old", "mid"}


def test_what_is_wanted_again_stays(cache: DiskCache, tmp_path: Path) -> None:
    """The version that is to be opened may share files with the one before."""
    store_unused(cache, tmp_path, "old", "mid")
    cache.make_room(version("old", "new"))
    assert kept_in(tmp_path) == {"old"}


def test_the_version_opened_last_is_remembered_with_its_files(cache: DiskCache, tmp_path: Path) -> None:
    store_unused(cache, tmp_path, "old", "mid")
    cache.keep("s3://one", version("old"))
    cache.make_room(version("new"))
    assert kept_in(tmp_path) == {"old"}
    assert cache.read_kept_version("s3://one") == version("old")
    assert cache.read_kept_version("s3://other") is None
    cache.drop([TAGS["old"]])
    assert cache.read_kept_version("s3://one") is None


def test_what_nobody_has_used_for_a_day_goes(cache: DiskCache, tmp_path: Path) -> None:
    store_unused(cache, tmp_path, "old", "mid")
    os.utime(tmp_path / "cache" / TAGS["old"], (0, 0))
    cache.make_room(version("mid"))
    assert kept_in(tmp_path) == {"mid"}


def test_parts_of_killed_processes_go_and_those_of_living_ones_stay(cache: DiskCache, tmp_path: Path) -> None:
    dead, living = tmp_path / "cache/part-dead", tmp_path / "cache/part-living"
    for path in (dead, living):
        path.touch()
        os.utime(path, (time.time() - 600, time.time() - 600))
    with living.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        cache.make_room(version("new"))
    assert not dead.exists()
    assert living.exists()


def test_a_memory_that_cannot_be_read_is_none(cache: DiskCache, tmp_path: Path) -> None:
    cache.keep("s3://one", version())
    (path,) = (tmp_path / "cache").glob("*.version")
    path.write_text("{")
    assert cache.read_kept_version("s3://one") is None
    cache.make_room(version("new"))
