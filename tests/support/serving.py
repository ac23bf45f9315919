"""The API for tests: a real server on a port, over real artifacts."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from blockbuster import blockbuster_ctx

from app import appkeys
from app.main import create_app
from app.settings import Settings
from tests.support.build_artifacts import write_artifacts

Client = TestClient[web.Request, web.Application]
Serve = Callable[..., Awaitable[Client]]
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[None]:
    """A call of ours that blocks the event loop fails the test."""
    with blockbuster_ctx("app") as watch:
        for function in watch.functions.values():
            # runs before there is a loop, except in tests
            function.can_block_in("app/main.py", "create_app")
            function.can_block_in("tests/support/build_artifacts.py", {"write_artifacts", "stamp"})
            # a row of the ledger is on disk before its answer is sent: microseconds, and wanted
            function.can_block_in(
                "app/ledger/journal.py", {"append", "rotate", "_begin", "closed_files", "_others", "close"}
            )
            # asyncpg looks for its own files when it connects, once
            function.can_block_in("asyncpg/connect_utils.py", {"_parse_connect_arguments"})
            # a loop of its own in a thread of its own, for this very reason
            function.can_block_in("app/artifacts/s3.py", {"<lambda>"})
            # whoever measures coverage locks its data at a line of ours now and then; that is not our call
            function.can_block_in("coverage/collector.py", {"lock_data"})
            # tracebacks quote the source
            function.can_block_in("linecache.py", {"checkcache", "updatecache"})
            function.can_block_in("rich/traceback.py", {"_render_stack"})
        yield


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A folder of 60 matches."""
    return write_artifacts(tmp_path / "artifacts")


@pytest.fixture
async def serve(aiohttp_client: Any, tmp_path: Path, artifacts: Path) -> Serve:
    """Start the API with changed settings; its artifacts, if sound, are open when this returns."""

    async def start(**changes: object) -> Client:
        values: dict[str, object] = {
            "artifacts_uri": str(artifacts),
            "touchline_home": tmp_path / "home",
            "redis_url": NO_REDIS,
            "artifact_poll_s": 3600,
        }
        app = create_app(Settings(**values | changes))  # type: ignore[arg-type]  # pydantic checks them
        client: Client = await aiohttp_client(app)
        await app[appkeys.SNAPSHOTS].refresh()
        return client

    return start


@pytest.fixture
async def client(serve: Serve) -> Client:
    """The API over the artifacts, without Redis and without a database."""
    return await serve()


async def json_of(client: Client, path: str, **params: object) -> Any:
    """The JSON of an answer that must be a success."""
    async with client.get(path, params={name: str(value) for name, value in params.items()}) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def until(holds: Callable[[], Awaitable[bool]], *, timeout_s: float = 60) -> None:
    """Wait for a condition that another task or process brings about."""
    async with asyncio.timeout(timeout_s):
        while not await holds():  # noqa: ASYNC110  # nobody there to set an event
            await asyncio.sleep(0.02)
