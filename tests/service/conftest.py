"""Fixtures of the service tests."""

from tests.support.live import live_settings, queue, redis, registry, registry_settings, shelf_source, worker
from tests.support.s3 import s3
from tests.support.serving import artifacts, client, no_blocking, serve

__all__ = [
    "artifacts",
    "client",
    "live_settings",
    "no_blocking",
    "queue",
    "redis",
    "registry",
    "registry_settings",
    "s3",
    "serve",
    "shelf_source",
    "worker",
]
