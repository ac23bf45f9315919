"""The pipeline process with a real Redis: by hand and by a changed file; one at a time; killed at any point."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from app.artifacts.contract import MANIFEST, check, read_manifest
from app.queue.redis import connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.refreshes import Refreshes, RefreshState
from app.runtime import run_in_background
from app.settings import Settings
from tests.service.test_refresh import contents, home, world
from tests.support.serving import Serve, json_of, until
from worker.pipeline import schedule
from worker.pipeline.schedule import ask_for_refresh, make_pipeline_worker, pause_s, refresh_once

__all__ = ["home", "world"]
pytestmark = [pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore")]
PATIENCE_S = 400.0


@pytest.fixture
async def settings(
    home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Settings:
    """In the environment too, for the child; the source is a copy of the later folder."""
    source = home / "source"
    await asyncio.to_thread(shutil.rmtree, source, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, home / "later", source)
    values = {
        "TOUCHLINE_HOME": str(home),
        "ARTIFACTS_URI": str(home / "artifacts"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow/mlflow.db",
        "REDIS_URL": redis_url,
        "QUEUE_NAME": f"test:{request.node.name}",
        "SOURCE_FOLDER": str(source),
        "RETRAIN_DAYS": "0",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    # a child that is traced takes twice as long, and what it runs has tests of its own
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    return Settings()


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[ArqRedis]:
    client = connect(settings)
    await client.flushdb()
    yield client
    await disconnect(client)


@pytest.fixture
def refreshes(redis: ArqRedis, settings: Settings) -> Refreshes:
    return Refreshes(redis, RedisKeys(settings.queue_name))


def break_source(settings: Settings) -> Path:
    """Hide all result files; where they are now."""
    assert settings.source_folder is not None
    hidden = settings.source_folder / ".hidden"
    (settings.source_folder / "main").rename(hidden)
    return hidden


async def run_pipeline(what: str) -> int:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "worker.pipeline", what)
    return await process.wait()


async def eventually(check_now: Callable[[], Awaitable[bool]]) -> None:
    await until(check_now, timeout_s=PATIENCE_S)


async def test_one_refresh_at_a_time_and_what_came_of_it(settings: Settings, refreshes: Refreshes, home: Path) -> None:
    first, second = await asyncio.gather(refresh_once(refreshes), refresh_once(refreshes))
    done = first or second
    assert done is not None
    assert [first, second].count(None) == 1
    assert (done.state, done.fault) == (RefreshState.DONE, None)
    assert "new results" in done.detail
    manifest = await asyncio.to_thread(read_manifest, home / "artifacts")
    assert manifest.built_at > (await asyncio.to_thread(read_manifest, home / "published")).built_at


async def test_a_failed_refresh_says_why_and_leaves_everything(
    settings: Settings, refreshes: Refreshes, home: Path, serve: Serve
) -> None:
    before = await asyncio.to_thread(contents, home / "artifacts")
    await asyncio.to_thread(break_source, settings)
    assert await run_pipeline("once") == 1
    last = await refreshes.newest()
    assert last is not None
    assert last.fault is not None
    assert "files are missing" in last.detail or "No matches were found" in last.detail
    assert await asyncio.to_thread(contents, home / "artifacts") == before
    client = await serve(
        artifacts_uri=str(home / "artifacts"),
        redis_url=settings.redis_url,
        queue_name=settings.queue_name,
    )

    async def is_told() -> bool:
        ready = await (await client.get("/readyz")).json()
        parts = {part["name"]: part for part in ready["parts"]}
        return ready["degraded"] and "refresh" in parts and last.fault in parts["refresh"]["detail"]

    await eventually(is_told)
    metrics = await (await client.get("/metrics")).text()
    assert "refresh_fault 1" in metrics
    assert (await json_of(client, "/predict/predictions/"))["count"] > 1000


@asynccontextmanager
async def pipeline(settings: Settings, redis: ArqRedis) -> AsyncIterator[None]:
    worker = make_pipeline_worker(settings, redis)
    worker._handle_signals = False  # type: ignore[attr-defined]
    async with run_in_background(worker.async_run()):
        try:
            yield
        finally:
            worker.handle_sig(signal.SIGTERM)


async def test_a_changed_file_starts_a_refresh_and_a_failure_is_tried_again(
    settings: Settings, redis: ArqRedis, refreshes: Refreshes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(schedule, "QUIET_MS", 200)
    hidden = await asyncio.to_thread(break_source, settings)
    await refreshes.note(RefreshState.DONE, "")  # so that the start itself makes up for nothing
    assert settings.source_folder is not None
    async with pipeline(settings, redis):
        await asyncio.sleep(0.3)
        await asyncio.to_thread((settings.source_folder / "notes.txt").write_text, "changed")

        async def has(state: RefreshState) -> bool:
            last = await refreshes.newest()
            return last is not None and last.state is state

        await eventually(lambda: has(RefreshState.FAILED))
        last = await refreshes.newest()
        assert last is not None
        assert last.again_at is not None
        await asyncio.to_thread(hidden.rename, settings.source_folder / "main")
        await eventually(lambda: has(RefreshState.DONE))
    assert await asyncio.to_thread(check, home / "artifacts") == ()


async def test_killed_at_any_point_nothing_is_half_published(settings: Settings, home: Path, redis: ArqRedis) -> None:
    """Whatever is there afterwards is a whole publication, the old one or the new one."""
    old = await asyncio.to_thread((home / "artifacts" / MANIFEST).read_bytes)
    argv = [sys.executable, "-m", "worker.pipeline.refresh"]
    for marker in (b"reading results", b"writing features", b"adding to the history", b"settling value bets"):
        process = await asyncio.create_subprocess_exec(
            *argv, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        assert process.stderr is not None
        async for line in process.stderr:
            if line.startswith(marker):
                break
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert await asyncio.to_thread(check, home / "artifacts") == ()
        now = await asyncio.to_thread((home / "artifacts" / MANIFEST).read_bytes)
        assert now == old or marker == b"settling value bets"
    assert await run_pipeline("once") == 0
    assert not await asyncio.to_thread(lambda: list(home.glob(".artifacts.staging-*")))
    assert await asyncio.to_thread(check, home / "artifacts") == ()


async def test_whoever_asks_while_no_pipeline_runs_gets_a_refresh_here(
    settings: Settings, refreshes: Refreshes
) -> None:
    assert await run_pipeline("now") == 0
    last = await refreshes.newest()
    assert last is not None
    assert last.state is RefreshState.DONE


async def test_asking_twice_is_one_that_runs_and_one_that_waits(settings: Settings, redis: ArqRedis) -> None:
    for _ in range(5):
        await ask_for_refresh(redis, settings)
    assert await redis.zcard(schedule.pipeline_queue(settings)) == 2


def test_pauses_grow_to_an_hour() -> None:
    assert [pause_s(n) for n in (1, 2, 3, 7, 20)] == [60.0, 120.0, 240.0, 3600.0, 3600.0]


async def test_redis_that_is_away_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert await run_pipeline("once") == 2
