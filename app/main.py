"""Wires the HTTP service together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import orjson
from aiohttp import web

from app import appkeys
from app.api.headers import add_headers, preflight
from app.api.metrics import follow_drift
from app.api.middleware import access, request_id
from app.api.openapi import document
from app.api.problems import problem_middleware
from app.api.routes import ROUTES, add_routes
from app.auth.keyring import Keyring
from app.auth.rate_limit import RateLimit, read_limit
from app.background.gauges import SnapshotGauges, follow_quality
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
from app.telemetry.export import SpanExport, open_export

MAX_BODY_BYTES = 64 * 1024  # the largest body the API takes is one small object


def create_app(settings: Settings) -> web.Application:
    """The service, ready to run; nothing is opened before it starts."""
    app = web.Application(
        middlewares=[request_id, access, problem_middleware, preflight], client_max_size=MAX_BODY_BYTES
    )
    app[appkeys.SETTINGS] = settings
    app[appkeys.METRICS] = Metrics()
    app[appkeys.EXPORT] = _open_export(settings)
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
    settings = app[appkeys.SETTINGS]
    async with AsyncExitStack() as stack:
        if (export := app[appkeys.EXPORT]) is not None:
            stack.push_async_callback(asyncio.to_thread, export.close)
        ledger = app[appkeys.LEDGER] = await stack.enter_async_context(Ledger.open(settings))
        await stack.enter_async_context(sync_ledger(settings, ledger))
        app[appkeys.KEYRING] = await stack.enter_async_context(Keyring.open(settings))
        app[appkeys.RATE_LIMIT] = _rate_limit(settings, stack)
        queue = app[appkeys.QUEUE] = await stack.enter_async_context(QueueClient.open(settings))
        app[appkeys.DEPENDENCIES] = await stack.enter_async_context(DependencyMonitor.open(queue, ledger))

        async def announce_features(change: SnapshotChange) -> None:
            await queue.announce_features(change.new.features.names)

        opening = open_snapshots(settings, app[appkeys.QUERY_LIMITER])
        snapshots = app[appkeys.SNAPSHOTS] = await stack.enter_async_context(opening)
        gauges, publisher = SnapshotGauges(app[appkeys.METRICS]), SnapshotPublisher(app[appkeys.FEED])
        for handle in (announce_features, gauges.measure, publisher.publish):
            await stack.enter_async_context(run_in_background(snapshots.follow(handle)))
        await stack.enter_async_context(settle_ledger(snapshots, ledger))
        app[appkeys.SQL] = await stack.enter_async_context(SqlService.open(settings)) if settings.sql_enabled else None
        await stack.enter_async_context(run_in_background(follow_models(app[appkeys.FEED], queue)))
        await stack.enter_async_context(run_in_background(follow_drift(app)))
        await stack.enter_async_context(
            run_in_background(follow_quality(ledger, app[appkeys.METRICS].scores, settings))
        )
        yield


async def _end_feed(app: web.Application) -> None:
    # before the server waits for what is being answered: these answers never end by themselves
    app[appkeys.FEED].close()


def _open_export(settings: Settings) -> SpanExport | None:
    headers = settings.otel_exporter_otlp_headers
    told = headers.get_secret_value() if headers else ""
    return open_export(settings.otel_exporter_otlp_endpoint, "touchline-api", headers=told)


def _rate_limit(settings: Settings, stack: AsyncExitStack) -> RateLimit | None:
    per_minute = read_limit(settings)
    if not per_minute:
        return None
    redis = connect(settings)
    stack.push_async_callback(disconnect, redis)
    return RateLimit(redis, prefix=RedisKeys(settings.queue_name).rate, per_minute=per_minute)
