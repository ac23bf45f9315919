"""Serves the tools: over standard input and output, or with `--http` over streamable HTTP behind a key."""

import argparse
import asyncio
import hmac
import sys

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.client import TouchlineClient
from app.mcp.tools import build_server
from app.settings import Settings

SHORTEST_KEY = 16


def main(arguments: list[str] | None = None) -> int:
    """Serve until the input ends, or SIGINT or SIGTERM comes."""
    parser = argparse.ArgumentParser(prog="scripts/mcp", description=__doc__)
    parser.add_argument("--http", action="store_true", help="on MCP_HOST:MCP_PORT, for callers that have MCP_KEY")
    options = parser.parse_args(arguments)
    settings = Settings()
    if options.http and not _has_good_key(settings):
        sys.stderr.write(f"--http needs MCP_KEY: a secret of {SHORTEST_KEY} characters or more.\n")
        return 2
    asyncio.run(_serve_http(settings) if options.http else _serve_stdio(settings))
    return 0


class BearerGate:
    """Lets a request through that has the key as its bearer token; 401 for the others."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] == "http" and not self._is_allowed(scope):
            refused = JSONResponse(
                {"error": "unauthorized"}, 401, headers={"WWW-Authenticate": 'Bearer realm="touchline"'}
            )
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "").encode()
        return hmac.compare_digest(given, self._expected)


def _has_good_key(settings: Settings) -> bool:
    return settings.mcp_key is not None and len(settings.mcp_key.get_secret_value()) >= SHORTEST_KEY


async def _serve_stdio(settings: Settings) -> None:
    async with TouchlineClient(settings.api_url, key=settings.api_key) as client:
        await build_server(client).run_stdio_async()


async def _serve_http(settings: Settings) -> None:
    key = settings.mcp_key.get_secret_value() if settings.mcp_key else ""
    async with TouchlineClient(settings.api_url, key=settings.api_key) as client:
        # without sessions: every request stands alone, so that replicas need share nothing
        app = build_server(client).streamable_http_app(host=settings.mcp_host, stateless_http=True)
        gate = BearerGate(app, key)
        config = uvicorn.Config(
            gate, host=settings.mcp_host, port=settings.mcp_port, log_level="warning", access_log=False
        )
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    sys.exit(main())
