"""Serves handlers on a free port, in the loop of the test."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@asynccontextmanager
async def serving(handlers: Mapping[str, Any]) -> AsyncIterator[str]:
    """The address of a real server with these GET handlers."""
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def unused_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
