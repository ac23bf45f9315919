"""Fixtures of the chaos tests."""

from tests.chaos.pools import pool, queue, redis_server, running_redis, settings
from tests.support.live import registry

__all__ = ["pool", "queue", "redis_server", "registry", "running_redis", "settings"]
