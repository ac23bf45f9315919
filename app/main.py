"""Wires the HTTP service together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import TypeVar

import orjson
import structlog
from aiohttp import web

from app import appkeys
from app.api.headers import add_headers
from app.api.metrics import follow_drift, share_metrics
from app.api.middleware import handle_request
from app.api.openapi import document
from app.api.routes import ROUTES, add_routes
from app.auth.keyring import Keyring
from app.auth.rate_limit import RateLimit
from app.background.gauges import SnapshotGauges, follow_promotions, follow_quality
from app.background.ledger_sync import sync_ledger
from app.background.settlement import settle_ledger
from app.dependencies import DependencyMonitor
from app.events.feed import Feed
from app.events.publisher import SnapshotPublisher, follow_models
from app.ledger.ledger import Ledger
from app.queue.client import QueueClient
from app.queue.redis import connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.runtime import run_in_background
from app.settings import Settings
from app.sql.service import SqlService
from app.store.database import QueryLimiter
from app.store.snapshots import SnapshotChange, open_snapshots
from app.telemetry.api_metrics import Metrics
from app.telemetry.export import open_export
from app.telemetry.siblings import Siblings

log = structlog.get_logger(__name__)

T = TypeVar("T")
MAX_BODY_BYTES = 64 * 1024  # the largest body the API takes is one small object


def create_app(settings: Settings, *, siblings: Siblings | None = None) -> web.Application:
    """The service, ready to run; nothing is opened before it starts. `siblings`: other processes on the same port."""
    app = web.Application(middlewares=[handle_request], client_max_size=MAX_BODY_BYTES)
    app[appkeys.SETTINGS] = settings
    app[appkeys.HTTP] = settings.http
    app[appkeys.TRACING] = settings.tracing
    app[appkeys.METRICS] = Metrics()
    app[appkeys.SIBLINGS] = siblings
    app[appkeys.EXPORT] = open_export(settings.tracing.endpoint, "touchline-api", headers=settings.tracing.headers)
    app[appkeys.QUERY_LIMITER] = QueryLimiter(settings.query_concurrency, settings.query_queue_limit)
    app[appkeys.STARTED_AT] = datetime.now(UTC)
    app[appkeys.OPENAPI] = orjson.dumps(document(ROUTES))
    app[appkeys.FEED] = Feed(limit=settings.event_clients)
    app.on_shutdown.append(_end_feed)
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(_resources)
    add_routes(app)
    return app


@asynccontextmanager
async def _resources(app: web.Application) -> AsyncIterator[None]:
    """Open what requests need, each after what it needs itself; close it in the reverse order."""
    settings, metrics, feed = app[appkeys.SETTINGS], app[appkeys.METRICS], app[appkeys.FEED]
    async with AsyncExitStack() as stack:
        if (export := app[appkeys.EXPORT]) is not None:
            stack.push_async_callback(asyncio.to_thread, export.close)

        # the prediction ledger, and what moves rows into it
        ledger = app[appkeys.LEDGER] = await _open(stack, "ledger", Ledger.open(settings))
        await _open(stack, "ledger sync", sync_ledger(settings, ledger))

        # who may ask, and how often
        app[appkeys.KEYRING] = await _open(stack, "keyring", Keyring.open(settings.keys))
        app[appkeys.RATE_LIMIT] = await _open(stack, "rate limit", _open_rate_limit(settings))

        # Redis with the workers behind it
        queue = app[appkeys.QUEUE] = await _open(stack, "queue", QueueClient.open(settings))
        monitor = DependencyMonitor.open(queue, ledger)
        app[appkeys.DEPENDENCIES] = await _open(stack, "dependency monitor", monitor)

        # the artifacts, and what follows each new snapshot of them
        async def announce_features(change: SnapshotChange) -> None:
            await queue.announce_features(change.new.features.names)

        opening = open_snapshots(settings, app[appkeys.QUERY_LIMITER])
        snapshots = app[appkeys.SNAPSHOTS] = await _open(stack, "snapshots", opening)
        for name, handle in (
            ("feature names", announce_features),
            ("snapshot gauges", SnapshotGauges(metrics).measure),
            ("snapshot events", SnapshotPublisher(feed).publish),
        ):
            await _open(stack, name, run_in_background(snapshots.follow(handle)))
        await _open(stack, "ledger settlement", settle_ledger(snapshots, ledger))
        app[appkeys.SQL] = await _open(stack, "sql", SqlService.open(settings.sql)) if settings.sql_enabled else None

        if (siblings := app[appkeys.SIBLINGS]) is not None:
            await _open(stack, "shared metrics", run_in_background(share_metrics(app, siblings)))

        # what follows changes for ever
        for name, work in (
            ("model events", follow_models(feed, queue)),
            ("drift gauge", follow_drift(app)),
            ("quality gauges", follow_quality(ledger, metrics.scores, settings)),
            ("promotion gauges", follow_promotions(ledger, metrics.scores, settings)),
        ):
            await _open(stack, name, run_in_background(work))
        yield


async def _open(stack: AsyncExitStack, name: str, opening: AbstractAsyncContextManager[T]) -> T:
    """Open a resource until the end of the stack, and log it."""
    started = perf_counter()
    resource = await stack.enter_async_context(opening)
    log.info("resource.opened", resource=name, duration_ms=round(1000 * (perf_counter() - started), 1))
    return resource


async def _end_feed(app: web.Application) -> None:
    # before the server waits for what is being answered: these answers never end by themselves
    app[appkeys.FEED].close()


@asynccontextmanager
async def _open_rate_limit(settings: Settings) -> AsyncIterator[RateLimit | None]:
    per_minute = settings.http.requests_per_minute
    if not per_minute:
        yield None
        return
    redis = connect(settings)
    rate_limit = RateLimit(redis, prefix=RedisKeys(settings.queue_name).rate, per_minute=per_minute)
    try:
        yield rate_limit
    finally:
        await rate_limit.close()
        await disconnect(redis)
