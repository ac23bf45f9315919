"""The API on a port, until told to stop."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from app import appkeys
from app.api.transport import ConnectionFactory
from app.runtime import freeze_gc

log = structlog.get_logger(__name__)

SHUTDOWN_TIMEOUT_S = 10.0  # what is being answered when a stop is asked for may take so long
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
    settings = app[appkeys.SETTINGS]
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
        door = ConnectionFactory(runner.server, max_connections=settings.max_connections)
        server = await asyncio.get_running_loop().create_server(
            door, settings.app_host, settings.app_port, backlog=BACKLOG, reuse_address=True
        )
        log.info("listening", host=settings.app_host, port=server.sockets[0].getsockname()[1])
        try:
            yield server
        finally:
            await door.close(server)
    finally:
        await runner.cleanup()
