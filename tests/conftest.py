"""Real servers for the tests, one of each a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.children import Child
from infra.local.postgres import Postgres
from infra.local.promtool import promtool as find_promtool
from infra.local.redis import Redis


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
