"""The API on a port, until told to stop."""

import asyncio
import errno
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from aiohttp import web

from app import appkeys
from app.api.transport import ConnectionFactory
from app.runtime import freeze_gc
from app.store.snapshots import Snapshots

log = structlog.get_logger(__name__)

SHUTDOWN_TIMEOUT_S = 10.0  # what is being answered when a stop is asked for may take so long
FIRST_SNAPSHOT_S = 30.0
SPARE_DESCRIPTORS = 1024  # for files, databases and Redis, beside the connections of clients
PAUSE_LINE_S = 60.0  # a pause that lasts is told so often
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BACKLOG = 1024  # a full one costs a caller the second until TCP tries again


async def serve(app: web.Application) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with listening(app):
        with freeze_gc():
            await stop.wait()


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[asyncio.Server]:
    """The API, listening; at the end, what is being answered is answered first."""
    http = app[appkeys.HTTP]
    _raise_descriptor_limit(http.max_connections + SPARE_DESCRIPTORS)
    asyncio.get_running_loop().set_exception_handler(_LoopErrors())
    runner = web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=True,  # a caller who has gone wants no answer
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
    )
    await runner.setup()
    try:
        if runner.server is None:
            raise RuntimeError("aiohttp made no server")
        if http.is_port_shared:
            # the others answer meanwhile; a process that listened before it had artifacts would refuse its share
            await _first_snapshot(app[appkeys.SNAPSHOTS])
        factory = ConnectionFactory(
            runner.server,
            max_connections=http.max_connections,
            max_per_address=http.max_connections_per_address,
        )
        server = await asyncio.get_running_loop().create_server(
            factory, http.host, http.port, backlog=BACKLOG, reuse_address=True, reuse_port=http.is_port_shared
        )
        log.info("api.listening", host=http.host, port=server.sockets[0].getsockname()[1])
        try:
            yield server
        finally:
            await factory.close(server)
    finally:
        await runner.cleanup()


async def _first_snapshot(snapshots: Snapshots) -> None:
    """Wait until artifacts are open, or cannot be, or are long in coming."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_SNAPSHOT_S):
            await snapshots.ask()


def _raise_descriptor_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        log.warning("descriptors.few", limit=allowed, wanted=wanted)


class _LoopErrors:
    """Handles what no task catches: asyncio stops accepting for a second when descriptors run out, a thousand times.

    Its own handler writes a traceback each time, 74 MB a minute; this one writes a line a minute.
    """

    def __init__(self) -> None:
        self._next_line_at = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next_line_at:
            self._next_line_at = loop.time() + PAUSE_LINE_S
            log.warning("connections.paused", error=os.strerror(error.errno or 0))
