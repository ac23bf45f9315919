"""Probes and scrapes while dependencies hang: answered at once, and never an error of their own."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings
from tests.support.black_hole import black_hole
from tests.support.live import MemorySource, serving
from tests.support.serving import Client, Serve, json_of, until

pytestmark = pytest.mark.timeout(600)
PROBES = ["/livez", "/readyz", "/readyz?need=reads", "/healthcheck/", "/metrics"]


@pytest.fixture
async def hung(aiohttp_client: Any, artifacts: Path, tmp_path: Path) -> AsyncIterator[Client]:
    """The API with a Redis and a PostgreSQL that take connections and answer nothing."""
    with black_hole() as redis, black_hole() as database:
        settings = Settings(
            artifacts_uri=str(artifacts),
            touchline_home=tmp_path / "home",
            redis_url=f"redis://127.0.0.1:{redis}/0",
            database_url=f"postgresql://nobody@127.0.0.1:{database}/none",
        )
        client: Client = await aiohttp_client(create_app(settings))
        await until(lambda: has_status(client, "/readyz?need=reads", 200))
        yield client
        await client.close()  # before its servers, which would wake everybody


async def has_status(client: Client, path: str, expected: int) -> bool:
    return (await client.get(path)).status == expected


async def test_probes_are_answered_at_once_while_everything_hangs(hung: Client) -> None:
    """The best of twenty: on a busy machine others may have the core, but nothing of ours waits."""
    for path in PROBES:
        took_s = []
        for _ in range(20):
            started = time.perf_counter()
            response = await hung.get(path)
            await response.read()
            took_s.append(time.perf_counter() - started)
            assert response.status in {200, 503}
        assert min(took_s) < 0.05, path


async def test_what_hangs_is_named_and_does_not_get_the_process_killed(hung: Client) -> None:
    async def is_named() -> bool:
        body = await (await hung.get("/readyz")).json()
        return "no answer within" in body["parts"][1]["detail"]

    await until(is_named)
    assert (await hung.get("/livez")).status == 200
    health = await json_of(hung, "/healthcheck/")
    assert (health["status"], health["database"]) == ("degraded", "unreachable")
    assert (await json_of(hung, "/readyz", need="reads"))["ready"]
    text = await (await hung.get("/metrics")).text()
    assert 'dependency_up{name="redis"} 0.0' in text
    assert 'dependency_up{name="database"} 0.0' in text
    assert "queue_jobs{" not in text  # nobody knows


async def test_database_that_answers_is_connected(serve: Serve, database_url: str) -> None:
    client = await serve(database_url=database_url)

    async def is_connected() -> bool:
        return (await json_of(client, "/healthcheck/"))["database"] == "connected"

    await until(is_connected)
    health = await json_of(client, "/healthcheck/")
    assert health["status"] == "ok"
    assert health["memory_mb"] > 10
    assert 'dependency_up{name="database"} 1.0' in await (await client.get("/metrics")).text()


async def test_readiness_is_green_with_everything_and_red_when_redis_goes(
    serve: Serve, live_settings: Settings, shelf_source: MemorySource
) -> None:
    client = await serve(redis_url=live_settings.redis_url, queue_name=live_settings.queue_name)
    async with serving(live_settings, shelf_source):
        await until(lambda: has_status(client, "/readyz", 200))
        ready = await json_of(client, "/readyz")
        assert (ready["ready"], ready["degraded"]) == (True, False)
    await until(lambda: has_status(client, "/readyz", 503))
