"""When artifacts are refreshed: by the clock, when a file of the source changes, and when somebody asks.

arq's cron makes it one job in the whole pool of pipeline processes. The refresh itself is a child process: its memory
goes when it ends, and it can be killed at any point. A refresh that fails is tried again, later each time.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from arq import Retry
from arq.connections import ArqRedis
from arq.cron import cron
from arq.worker import Worker, func
from watchfiles import awatch

from app.artifacts.manifest import read_manifest
from app.queue.jobs import Payload
from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.refreshes import LastRefresh, Refreshes, RefreshState
from app.queue.serialization import dumps, loads
from app.runtime import run_in_background
from app.settings import Settings
from app.telemetry.logging import set_up_logging
from worker.pipeline.refresh import RefreshSummary

log = logging.getLogger(__name__)

REFRESH = "refresh"
TIMEOUT_S = 3 * 3600.0  # a first build of everything, a retraining: hours on a small machine
MAX_TRIES = 12
FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 3600.0
QUIET_MS = 2000  # a folder that is being written into is left alone for so long
ALIVE_EVERY_S = 5
POLL_S = 0.5
_DETAIL_CHARACTERS = 500
_FRESH_FOR = timedelta(hours=1)  # artifacts of a build or refresh just before
_REFRESHES = "refreshes"


def pipeline_queue(settings: Settings) -> str:
    """The queue of the pipeline's own jobs: prediction workers never take one."""
    return f"{settings.queue_name}:pipeline"


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return float(min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S))


async def refresh_artifacts(ctx: dict[Any, Any]) -> Payload:
    """The job: refresh, unless another does; when it fails, the same job comes again later."""
    failures: int = ctx["job_try"]
    again_at = datetime.now(UTC) + timedelta(seconds=pause_s(failures)) if failures < MAX_TRIES else None
    last = await refresh_once(ctx[_REFRESHES], again_at=again_at)
    if last is not None and last.state is RefreshState.FAILED and again_at is not None:
        raise Retry(defer=pause_s(failures))
    return {"state": last.state.value if last else "busy", "detail": last.detail if last else ""}


async def refresh_once(refreshes: Refreshes, *, again_at: datetime | None = None) -> LastRefresh | None:
    """Refresh in a child process and note what came of it; None when somebody else is refreshing."""
    async with refreshes.claim() as is_ours:
        if not is_ours:
            log.info("refresh.busy: another process is refreshing")
            return None
        await refreshes.note(RefreshState.RUNNING, "")
        state, detail = await _run_child()
        failed = state is RefreshState.FAILED
        await refreshes.note(state, detail, again_at if failed else None)
        log.log(logging.ERROR if failed else logging.INFO, "refresh.%s: %s", state, detail)
        return await refreshes.newest()


async def _run_child() -> tuple[RefreshState, str]:
    argv = [sys.executable, "-m", "worker.pipeline.refresh", "--with-parent"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, said = await asyncio.gather(_read(process.stdout), _pass_on(process.stderr))
            code = await process.wait()
    except TimeoutError:
        return RefreshState.FAILED, f"It took more than {TIMEOUT_S / 3600:.0f} hours."
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if code == 0:
        return RefreshState.DONE, RefreshSummary(**json.loads(out)).sentence()
    return RefreshState.FAILED, said[:_DETAIL_CHARACTERS] or f"It ended with exit code {code}."


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return b"" if stream is None else await stream.read()


async def _pass_on(stream: asyncio.StreamReader | None) -> str:
    """Show what the child says of its progress; the last line, which tells why it stopped."""
    last = ""
    while stream is not None and (raw := await stream.readline()):
        line = raw.decode(errors="replace").rstrip()
        sys.stderr.write(f"{line}\n")
        last = line.strip() or last
    return last.removeprefix("Stopped. ")


async def ask_for_refresh(redis: ArqRedis, settings: Settings) -> None:
    """Put a refresh into the queue: one that waits is enough, one that runs may have read the source already."""
    for name in ("one", "other"):
        job = await redis.enqueue_job(REFRESH, _job_id=f"{REFRESH}:{name}", _queue_name=pipeline_queue(settings))
        if job is not None:
            return


async def watch_folder(redis: ArqRedis, settings: Settings, folder: Path) -> None:
    """Ask for a refresh whenever a file of the folder has changed, for ever."""

    def is_shown(_change: object, path: str) -> bool:
        return not any(part.startswith(".") for part in Path(path).relative_to(folder).parts)

    async for changes in awatch(folder, watch_filter=is_shown, debounce=QUIET_MS, step=QUIET_MS // 4):
        log.info("source.changed: %d files of %s", len(changes), folder)
        try:
            await ask_for_refresh(redis, settings)
        except REDIS_ERRORS as error:
            log.warning("source.change_lost: Redis cannot be reached: %s", error)


async def _is_overdue(settings: Settings, refreshes: Refreshes) -> bool:
    """Whether a pipeline that starts has something to make up for: it was away, or killed in the middle."""
    last = await refreshes.newest()
    if last is not None and last.state is not RefreshState.DONE:
        return True
    try:
        manifest = await asyncio.to_thread(read_manifest, Path(settings.artifacts_uri))
    except (OSError, ValueError):
        return True
    return datetime.now(UTC) - manifest.built_at > _FRESH_FOR


def make_pipeline_worker(settings: Settings, redis: ArqRedis) -> Worker:
    """Return arq's own worker with the jobs of the pipeline."""
    stack = AsyncExitStack()

    async def startup(ctx: dict[Any, Any]) -> None:
        ctx[_REFRESHES] = Refreshes(redis, RedisKeys(settings.queue_name))
        if settings.source_folder is not None:
            folder = await asyncio.to_thread(settings.source_folder.resolve)
            await stack.enter_async_context(run_in_background(watch_folder(redis, settings, folder)))
        if await _is_overdue(settings, ctx[_REFRESHES]):
            # by a name of its own: a job of that name may have been running when its process was killed
            job_id = f"{REFRESH}:start:{uuid4().hex}"
            await redis.enqueue_job(REFRESH, _job_id=job_id, _queue_name=pipeline_queue(settings))

    async def shutdown(_ctx: dict[Any, Any]) -> None:
        await stack.aclose()

    due = cron(
        refresh_artifacts,
        name=REFRESH,
        hour=set(settings.refresh_hours),
        minute=0,
        timeout=TIMEOUT_S,
        max_tries=MAX_TRIES,
    )
    return Worker(
        functions=[func(refresh_artifacts, name=REFRESH, timeout=TIMEOUT_S, max_tries=MAX_TRIES, keep_result=0)],
        cron_jobs=[due] if settings.refresh_hours else [],
        timezone=UTC,
        queue_name=pipeline_queue(settings),
        redis_pool=redis,
        on_startup=startup,
        on_shutdown=shutdown,  # type: ignore[arg-type]  # arq's type names its argument
        max_jobs=1,
        health_check_interval=ALIVE_EVERY_S,
        job_serializer=dumps,
        job_deserializer=loads,
        retry_jobs=True,
    )


async def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; a refresh that runs then is ended, and done again by the next worker."""
    redis = connect(settings)
    try:
        await make_pipeline_worker(settings, redis).async_run()
    finally:
        await disconnect(redis)


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[tuple[ArqRedis, Refreshes]]:
    redis = connect(settings)
    try:
        yield redis, Refreshes(redis, RedisKeys(settings.queue_name))
    finally:
        await disconnect(redis)


async def refresh_here(settings: Settings) -> int:
    """Refresh once, in this process's own child: for a scheduler that is not ours. The exit code."""
    async with _connected(settings) as (_redis, refreshes):
        last = await refresh_once(refreshes)
    if last is None:
        sys.stderr.write("Another refresh is running.\n")
        return 0
    return int(last.state is RefreshState.FAILED)


async def refresh_now(settings: Settings) -> int:
    """Have a pipeline process refresh, and wait for it; without one, refresh here. The exit code."""
    async with _connected(settings) as (redis, refreshes):
        if await redis.get(f"{pipeline_queue(settings)}:health-check") is None:
            sys.stderr.write("No pipeline process runs; refreshing here.\n")
            return await refresh_here(settings)
        asked_at = datetime.now(UTC)
        await ask_for_refresh(redis, settings)
        while True:
            last = await refreshes.newest()
            if last is not None and last.at > asked_at and last.state is not RefreshState.RUNNING:
                sys.stderr.write(f"{last.fault or last.detail}\n")
                return int(last.state is RefreshState.FAILED)
            await asyncio.sleep(POLL_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, or refresh once; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.pipeline", description=__doc__)
    parser.add_argument(
        "what", nargs="?", default="serve", choices=["serve", "once", "now"], help="serve: by the clock"
    )
    chosen = parser.parse_args(argv)
    settings = Settings()
    set_up_logging(settings.log_level, settings.log_format)
    # as Ctrl-C: the child is ended and waited for
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if chosen.what == "serve":
            asyncio.run(serve(settings))
            return 0
        return asyncio.run(refresh_here(settings) if chosen.what == "once" else refresh_now(settings))
    except REDIS_ERRORS as error:
        sys.stderr.write(f"Redis cannot be reached: {error}\n")
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
