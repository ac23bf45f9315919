"""Real servers for the tests, one of each a session."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import structlog

from infra.local.children import Child
from infra.local.postgres import Postgres
from infra.local.redis import Redis
from infra.tools.promtool import promtool as find_promtool


@pytest.fixture(scope="session", autouse=True)
def uncached_loggers() -> Iterator[None]:
    """A cached logger keeps the level of the test that used it first, and no later test can capture its lines."""
    configure = structlog.configure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            structlog, "configure", lambda **options: configure(**options | {"cache_logger_on_first_use": False})
        )
        yield


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private Redis."""
    redis = Redis(tmp_path_factory.mktemp("redis"))
    child = Child(redis.command())
    try:
        redis.wait_ready(child)
        yield redis.url
    finally:
        child.stop()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private PostgreSQL."""
    postgres = Postgres(tmp_path_factory.mktemp("postgres"), fsync=False)
    postgres.prepare()
    child = Child(postgres.command())
    try:
        postgres.wait_ready(child)
        yield postgres.url
    finally:
        child.stop()


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' checker of metrics and rules."""
    return find_promtool()


@pytest.fixture
async def database_url(postgres_url: str) -> AsyncIterator[str]:
    """An empty database of its own in the private PostgreSQL."""
    name = f"test_{uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres_url.rpartition("/")[0] + f"/{name}"
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()
