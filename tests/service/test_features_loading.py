"""While feature rows are not at hand, live predictions wait elsewhere than on the event loop."""

import asyncio
import fcntl
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app import appkeys
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.serving import Client, Serve, until

pytestmark = pytest.mark.timeout(600)
NAMES = tuple(f"f{n}" for n in range(300))
N = 3000


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Rows that take DuckDB a while to find in the parquet file."""
    return write_artifacts(tmp_path / "artifacts", n_matches=N, feature_names=NAMES, predict=even)


def even(rows: "np.typing.NDArray[np.float32]") -> "np.typing.NDArray[np.float64]":
    return np.tile([0.5, 0.3, 0.2], (len(rows), 1))


@contextmanager
def building_elsewhere(home: Path) -> Iterator[None]:
    """Another process of the machine is building a matrix, for as long as the context lasts."""
    cache = home / "cache/features"
    cache.mkdir(parents=True, exist_ok=True)
    turn = os.open(cache, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(turn)


async def livez_ms(client: Client, n: int = 15) -> float:
    """The median time of answers that were asked one after another."""
    times = []
    for _ in range(n):
        started = time.perf_counter()
        async with client.get("/livez") as response:
            assert response.status == 200
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


async def predict_codes(client: Client, n: int) -> list[tuple[int, str, str | None]]:
    """Status, code and Retry-After of so many live predictions at once."""

    async def predict(place: int) -> tuple[int, str, str | None]:
        async with client.get(f"/predict/{FIRST_ID + place}") as response:
            return response.status, (await response.json())["code"], response.headers.get("Retry-After")

    return await asyncio.gather(*(predict(place) for place in range(n)))


async def test_until_the_rows_are_loaded_a_client_is_told_to_come_back(serve: Serve, tmp_path: Path) -> None:
    with building_elsewhere(tmp_path / "home"):
        client = await serve()
        codes, median_ms = await asyncio.gather(predict_codes(client, 12), livez_ms(client))
        assert set(codes) == {(503, "features-loading", "2")}
        assert median_ms < 100
        # a match that is not there will not come either
        async with client.get("/predict/1") as response:
            assert (await response.json())["code"] == "match-not-found"

    async def is_loaded() -> bool:
        # the next hindrance: no queue
        return {code for _, code, _ in await predict_codes(client, 1)} == {"queue-unavailable"}

    await until(is_loaded, timeout_s=60)


async def test_rows_are_read_slowly_but_not_on_the_loop_where_no_matrix_can_be(serve: Serve, tmp_path: Path) -> None:
    cache = tmp_path / "home/cache/features"
    cache.parent.mkdir(parents=True)
    cache.write_text("not a folder")
    client = await serve()
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    await snapshot.features.wait(60)
    codes, median_ms = await asyncio.gather(predict_codes(client, 30), livez_ms(client))
    assert {code for _, code, _ in codes} == {"features-loading", "queue-unavailable"}
    assert median_ms < 100


async def test_old_rows_serve_until_the_new_ones_are_loaded(serve: Serve, tmp_path: Path, artifacts: Path) -> None:
    client = await serve()
    snapshots = client.app[appkeys.SNAPSHOTS]
    old = snapshots.current
    assert old is not None
    await old.features.wait(60)
    with building_elsewhere(tmp_path / "home"):
        await asyncio.to_thread(write_artifacts, artifacts, n_matches=N, feature_names=NAMES, predict=even, seed=1)
        refresh = asyncio.create_task(snapshots.refresh())
        codes, median_ms = await asyncio.gather(predict_codes(client, 12), livez_ms(client))
        assert {code for _, code, _ in codes} == {"queue-unavailable"}
        assert median_ms < 100
        assert snapshots.current is old
    assert (await refresh).is_changed
    assert {code for _, code, _ in await predict_codes(client, 12)} == {"queue-unavailable"}
