"""Artifacts that change, break or vanish while the service answers from them."""

import asyncio
import os
import shutil
from collections.abc import Callable, Sized
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from app import appkeys
from app.artifacts.contract import FEATURES, MANIFEST, ODDS, PREDICTIONS
from app.artifacts.folder import FolderSource
from app.artifacts.source import Version
from app.artifacts.workspace import Workspace
from app.runtime import run_in_background
from app.store.snapshot import OpenRules
from app.store.snapshots import SnapshotChange, Snapshots
from tests.support.build_artifacts import stamp, write_artifacts
from tests.support.serving import Client, Serve, json_of, until


def publish(folder: Path, **changes: object) -> None:
    """As the pipeline does: a new file takes the name of the old, the manifest last."""
    fresh = write_artifacts(folder.with_name("fresh"), **changes)  # type: ignore[arg-type]  # the builder's own arguments
    for path in sorted(fresh.rglob("*"), key=lambda path: path.name == MANIFEST):
        if path.is_file():
            path.replace(folder / path.relative_to(fresh))


async def refresh(client: Client) -> None:
    await client.app[appkeys.SNAPSHOTS].refresh()


async def count_of(client: Client) -> int:
    return int((await json_of(client, "/predict/predictions/"))["count"])


async def test_new_artifacts_take_over(client: Client, artifacts: Path) -> None:
    before = await json_of(client, "/predict/odds/")
    await asyncio.to_thread(publish, artifacts, n_matches=80, seed=5)
    assert await count_of(client) == 60
    await refresh(client)
    after = await json_of(client, "/predict/odds/")
    assert await count_of(client) == 80
    assert before["snapshot"]["id"] != after["snapshot"]["id"]
    assert after["snapshot"]["stale"] is False


async def test_new_artifacts_are_seen_without_being_told(serve: Serve, artifacts: Path) -> None:
    client = await serve(artifact_poll_s=0.05)
    await asyncio.to_thread(publish, artifacts, n_matches=70)

    async def is_taken() -> bool:
        return await count_of(client) == 70

    await until(is_taken)


async def test_reader_keeps_the_snapshot_it_began_with(client: Client, artifacts: Path) -> None:
    """The old one closes, files and all, when its last reader is done and not before."""
    snapshots = client.app[appkeys.SNAPSHOTS]
    async with snapshots.reading() as old:
        await asyncio.to_thread(publish, artifacts, n_matches=80, seed=5)
        await refresh(client)
        assert snapshots.current is not old
        assert await old.database.fetch("SELECT count(*) FROM cards") == [(60,)]
        assert await old.database.fetch("SELECT count(*) FROM predictions") == [(60,)]

    async def is_gone() -> bool:
        return not await asyncio.to_thread(old.folder.exists)

    await until(is_gone)
    assert await count_of(client) == 80


@pytest.mark.timeout(600)
async def test_readers_never_see_two_snapshots_in_one_answer(client: Client, artifacts: Path) -> None:
    """Under a storm of swaps every answer has the count of its own snapshot, and none fails."""
    sizes = {(await json_of(client, "/predict/odds/"))["snapshot"]["id"]: 60}
    stop = asyncio.Event()

    async def read() -> int:
        answers = 0
        while not stop.is_set():
            found = await json_of(client, "/predict/predictions/")
            assert len(found["items"]) == found["count"] == sizes.setdefault(found["snapshot"]["id"], found["count"])
            answers += 1
        return answers

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for n in range(8):
        await asyncio.to_thread(publish, artifacts, n_matches=40 + n, seed=n)
        await refresh(client)
    stop.set()
    assert sum(await asyncio.gather(*readers)) > 8
    assert len(set(sizes.values())) > 3


def truncated(folder: Path) -> None:
    os.truncate(folder / PREDICTIONS, 1000)


def truncated_and_vouched_for(folder: Path) -> None:
    (folder / PREDICTIONS).write_bytes((folder / PREDICTIONS).read_bytes()[:1000])
    stamp(folder)


def without_file(folder: Path) -> None:
    (folder / ODDS).unlink()


def without_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def manifest_of_nonsense(folder: Path) -> None:
    (folder / MANIFEST).write_text("{}")


def manifest_beyond_the_folder(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace(FEATURES, "../../../../escaped.parquet"))


def doubled(folder: Path) -> None:
    write_artifacts(folder, edit={PREDICTIONS: lambda table: table.take([0, 0, *range(len(table))])})


BREAKS = [
    truncated,
    truncated_and_vouched_for,
    without_file,
    without_manifest,
    manifest_of_nonsense,
    manifest_beyond_the_folder,
    doubled,
]


@pytest.mark.parametrize("break_it", BREAKS)
async def test_broken_artifacts_never_replace_good_ones(
    client: Client, artifacts: Path, break_it: Callable[[Path], None]
) -> None:
    """The old snapshot serves on, says it is stale, and operators see why; mended artifacts end that."""
    tag = (await client.get("/predict/predictions/")).headers["ETag"]
    await asyncio.to_thread(publish, artifacts, n_matches=70)
    await asyncio.to_thread(break_it, artifacts)
    await refresh(client)
    served = await client.get("/predict/predictions/")
    body = await served.json()
    assert (served.status, body["count"], body["snapshot"]["stale"]) == (200, 60, True)
    assert served.headers["ETag"] != tag
    ready = await json_of(client, "/readyz", need="reads")
    assert (ready["ready"], ready["degraded"]) == (True, True)
    assert not ready["parts"][0]["ok"]
    assert "serving" in ready["parts"][0]["detail"]
    assert "snapshot_fault 1" in await (await client.get("/metrics")).text()
    await asyncio.to_thread(publish, artifacts, n_matches=65)
    await refresh(client)
    mended = await json_of(client, "/predict/predictions/")
    assert (mended["count"], mended["snapshot"]["stale"]) == (65, False)
    assert "snapshot_fault 0" in await (await client.get("/metrics")).text()


@pytest.mark.parametrize("break_it", [case for case in BREAKS if case is not without_manifest])
async def test_start_over_broken_artifacts_waits_for_good_ones(
    serve: Serve, artifacts: Path, break_it: Callable[[Path], None]
) -> None:
    await asyncio.to_thread(break_it, artifacts)
    client = await serve()
    response = await client.get("/predict/cards/")
    assert (response.status, (await response.json())["code"]) == (503, "snapshot-unavailable")
    assert "Retry-After" in response.headers
    assert (await client.get("/readyz")).status == 503
    assert (await client.get("/livez")).status == 200
    await asyncio.to_thread(publish, artifacts)
    await refresh(client)
    assert await count_of(client) == 60


class Faltering(FolderSource):
    """A folder whose first look fails in a way nobody foresaw."""

    looks = 0

    async def look(self) -> Version:
        self.looks += 1
        if self.looks == 1:
            raise RuntimeError("nobody foresaw this")
        return await super().look()


async def test_watch_outlives_a_failure_nobody_foresaw(artifacts: Path, tmp_path: Path) -> None:
    """It is noted as a fault, and the next look mends it."""
    faults: list[str | None] = []

    async def is_served() -> bool:
        faults.append(snapshots.fault)
        return snapshots.current is not None and snapshots.fault is None

    private = await asyncio.to_thread(Workspace, tmp_path / "private")
    rules = OpenRules(feature_cache=tmp_path / "features")
    source = Faltering(artifacts)
    async with Snapshots.open(source, private, rules, poll_s=0.05) as snapshots:
        await until(is_served)
    await asyncio.to_thread(private.remove)
    assert "artifacts cannot be taken: RuntimeError: nobody foresaw this" in faults


async def has_grown(values: Sized, n_before: int) -> bool:
    return len(values) > n_before


async def test_followers_hear_of_the_old_snapshot_and_the_new(client: Client, artifacts: Path) -> None:
    """The old one can still be read then; a follower that fails hears of the next, as all others do."""
    counts: list[tuple[int | None, int, bool, int]] = []
    changes: asyncio.Queue[SnapshotChange] = asyncio.Queue()

    async def fail(change: SnapshotChange) -> None:
        changes.put_nowait(change)
        raise RuntimeError("nobody foresaw this")

    async def count(change: SnapshotChange) -> None:
        n_old = len(await change.old.database.fetch("FROM cards")) if change.old else None
        n_new = len(await change.new.database.fetch("FROM cards"))
        counts.append((n_old, n_new, change.is_stale, change.n_swaps))

    snapshots = client.app[appkeys.SNAPSHOTS]

    async with run_in_background(snapshots.follow(fail)), run_in_background(snapshots.follow(count)):
        for edit in (None, 70, 80, "broken"):
            n_before = len(counts)
            if isinstance(edit, int):
                await asyncio.to_thread(publish, artifacts, n_matches=edit)
            elif edit == "broken":
                (artifacts / MANIFEST).write_text("{}")
            await refresh(client)
            await changes.get()
            await until(partial(has_grown, counts, n_before))
    assert counts == [(None, 60, False, 1), (60, 70, False, 1), (70, 80, False, 1), (80, 80, True, 0)]


async def test_two_processes_over_the_same_artifacts_give_equal_answers(serve: Serve) -> None:
    """Byte for byte, under the same entity tag: a cache before replicas can use what it has from either."""
    for path in ("/predict/predictions/", "/predict/cards/", "/predict/roi/"):
        first, second = [await (await serve()).get(path) for _ in range(2)]
        assert first.headers["ETag"] == second.headers["ETag"]
        assert await first.read() == await second.read()


async def test_start_without_artifacts_says_what_is_missing(serve: Serve, tmp_path: Path) -> None:
    client = await serve(artifacts_uri=str(tmp_path / "nowhere"))
    response = await client.get("/predict/cards/")
    assert response.status == 503
    assert "nowhere" in (await response.json())["detail"]


async def test_files_written_over_in_place_change_no_answer(client: Client, artifacts: Path) -> None:
    """A publisher that does not rename breaks the links; what was opened is in memory already."""
    before = await json_of(client, "/predict/cards/")
    await asyncio.to_thread(truncated, artifacts)
    await client.app[appkeys.SNAPSHOTS].refresh()
    assert (await json_of(client, "/predict/cards/", limit=199))["items"] == before["items"]


def test_folders_of_processes_that_start_together_stay(tmp_path: Path) -> None:
    """One that looks for what the dead left takes nothing from one that is just beginning."""

    def begin_and_end(_n: int) -> bool:
        with Workspace(tmp_path) as folders:
            return folders.make("snapshot").is_dir()

    with ThreadPoolExecutor(8) as starting:
        assert all(starting.map(begin_and_end, range(400)))
    assert list(tmp_path.iterdir()) == []


async def test_nothing_private_is_left_behind(serve: Serve, tmp_path: Path) -> None:
    """Neither by a service that stopped nor by one that was killed; a living one is left alone."""
    home = tmp_path / "home"
    dead = home / "cache/snapshots/1-dead"
    dead.mkdir(parents=True)
    (dead / ".lock").touch()
    first, second = await serve(), await serve()
    folders = sorted((home / "cache/snapshots").iterdir())
    assert dead not in folders
    assert len(folders) == 2
    assert await count_of(first) == await count_of(second) == 60
    await first.close()
    await second.close()
    assert list((home / "cache/snapshots").iterdir()) == []
    shutil.rmtree(home)


async def told(client: Client) -> dict[str, object]:
    async with client.post("/artifacts/refresh") as response:
        assert response.status == 200
        answer: dict[str, object] = await response.json()
        return answer


async def test_a_notification_brings_new_artifacts_at_once(client: Client, artifacts: Path) -> None:
    """It tells what is served now, and says so when nothing has changed."""
    before = await told(client)
    assert (before["changed"], before["fault"]) == (False, None)
    await asyncio.to_thread(publish, artifacts, n_matches=70)
    after = await told(client)
    assert (after["changed"], after["fault"]) == (True, None)
    assert after["snapshot_id"] != before["snapshot_id"]
    assert (await json_of(client, "/predict/odds/"))["snapshot"]["id"] == after["snapshot_id"]


async def test_a_notification_of_broken_artifacts_is_told_why(client: Client, artifacts: Path) -> None:
    before = await told(client)
    await asyncio.to_thread(doubled, artifacts)
    after = await told(client)
    assert (after["snapshot_id"], after["changed"]) == (before["snapshot_id"], False)
    assert "match_id is repeated" in str(after["fault"])


async def test_many_notifications_at_once_share_their_looks(client: Client, artifacts: Path) -> None:
    await asyncio.to_thread(publish, artifacts, n_matches=70)
    answers = await asyncio.gather(*[told(client) for _ in range(20)])
    served = client.app[appkeys.SNAPSHOTS].current
    assert served is not None
    # one look brings the new ones; whoever asked while it was made is told by the look after it
    assert {answer["snapshot_id"] for answer in answers} == {served.id}
    assert any(answer["changed"] for answer in answers)
    assert await count_of(client) == 70
