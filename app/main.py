"""Wires the HTTP service together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import orjson
from aiohttp import web

from app import keys
from app.access.keyring import Keyring
from app.access.rate import RateLimit, per_minute_of
from app.api.headers import add_headers, preflight
from app.api.metrics import follow_drift
from app.api.middleware import access, request_id
from app.api.openapi import document
from app.api.problems import problems
from app.api.routes import ROUTES, add_routes
from app.feed.feed import Feed
from app.feed.watch import SnapshotWatch, follow_models
from app.ledger.ledger import Ledger
from app.pulse import Pulse
from app.queue.background import running
from app.queue.connection import connect, disconnect
from app.queue.keys import Keys
from app.queue.port import PredictionQueue
from app.settings import Settings
from app.sql.desk import Desk
from app.store.gate import Gate
from app.store.opening import open_snapshots
from app.store.snapshot import Snapshot
from app.telemetry.export import SpanExport, open_export
from app.telemetry.service import Metrics
from app.upkeep.draining import draining
from app.upkeep.measuring import Measuring
from app.upkeep.scoring import follow_quality
from app.upkeep.settling import settling

MAX_BODY_BYTES = 64 * 1024  # the largest body the API takes is one small object


def create_app(settings: Settings) -> web.Application:
    """The service, ready to run; nothing is opened before it starts."""
    app = web.Application(middlewares=[request_id, access, problems, preflight], client_max_size=MAX_BODY_BYTES)
    app[keys.SETTINGS] = settings
    app[keys.METRICS] = Metrics()
    app[keys.EXPORT] = _open_export(settings)
    app[keys.GATE] = Gate(settings.query_concurrency, settings.query_queue_limit)
    app[keys.STARTED_AT] = datetime.now(UTC)
    app[keys.OPENAPI] = orjson.dumps(document(ROUTES))
    app[keys.FEED] = Feed(limit=settings.event_clients)
    app.on_shutdown.append(_end_feed)
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(_resources)
    add_routes(app)
    return app


@asynccontextmanager
async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings = app[keys.SETTINGS]
    async with AsyncExitStack() as stack:
        if (export := app[keys.EXPORT]) is not None:
            stack.push_async_callback(asyncio.to_thread, export.close)
        ledger = app[keys.LEDGER] = await stack.enter_async_context(Ledger.open(settings))
        await stack.enter_async_context(draining(settings, ledger))
        app[keys.KEYRING] = await stack.enter_async_context(Keyring.open(settings))
        app[keys.RATE_LIMIT] = _rate_limit(settings, stack)
        queue = app[keys.QUEUE] = await stack.enter_async_context(PredictionQueue.open(settings))
        app[keys.PULSE] = await stack.enter_async_context(Pulse.open(queue, ledger))

        async def announce(_: Snapshot | None, snapshot: Snapshot) -> None:
            await queue.announce_features(snapshot.features.names)

        on_swap = (Measuring(app[keys.METRICS]), announce)
        opening = open_snapshots(settings, app[keys.GATE], on_swap)
        snapshots = app[keys.SNAPSHOTS] = await stack.enter_async_context(opening)
        await stack.enter_async_context(settling(snapshots, ledger))
        app[keys.SQL] = await stack.enter_async_context(Desk.open(settings)) if settings.sql_enabled else None
        await stack.enter_async_context(running(SnapshotWatch(app[keys.FEED], snapshots).follow()))
        await stack.enter_async_context(running(follow_models(app[keys.FEED], queue)))
        await stack.enter_async_context(running(follow_drift(app)))
        await stack.enter_async_context(running(follow_quality(ledger, app[keys.METRICS].scores, settings)))
        yield


async def _end_feed(app: web.Application) -> None:
    # before the server waits for what is being answered: these answers never end by themselves
    app[keys.FEED].close()


def _open_export(settings: Settings) -> SpanExport | None:
    headers = settings.otel_exporter_otlp_headers
    told = headers.get_secret_value() if headers else ""
    return open_export(settings.otel_exporter_otlp_endpoint, "touchline-api", headers=told)


def _rate_limit(settings: Settings, stack: AsyncExitStack) -> RateLimit | None:
    per_minute = per_minute_of(settings)
    if not per_minute:
        return None
    redis = connect(settings)
    stack.push_async_callback(disconnect, redis)
    return RateLimit(redis, prefix=Keys(settings.queue_name).rate, per_minute=per_minute)
