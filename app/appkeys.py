"""What lives in the application and in a request, by typed key."""

from datetime import datetime

from aiohttp import web

from app.auth.keyring import Keyring
from app.auth.rate_limit import Quota, RateLimit
from app.dependencies import DependencyMonitor
from app.events.feed import Feed
from app.ledger.ledger import Ledger, NoLedger
from app.queue.client import QueueClient
from app.settings import HttpSettings, Settings, TracingSettings
from app.sql.service import SqlService
from app.store.database import QueryLimiter
from app.store.snapshots import Snapshots
from app.telemetry.api_metrics import Metrics
from app.telemetry.export import SpanExport
from app.telemetry.siblings import Siblings
from app.telemetry.tracing import Trace

SETTINGS = web.AppKey("settings", Settings)
HTTP = web.AppKey("http", HttpSettings)
TRACING = web.AppKey("tracing", TracingSettings)
METRICS = web.AppKey("metrics", Metrics)
SIBLINGS: web.AppKey[Siblings | None] = web.AppKey("siblings")
QUERY_LIMITER = web.AppKey("limiter", QueryLimiter)
STARTED_AT = web.AppKey("started_at", datetime)
OPENAPI = web.AppKey("openapi", bytes)
DEPENDENCIES = web.AppKey("pulse", DependencyMonitor)
SNAPSHOTS = web.AppKey("snapshots", Snapshots)
QUEUE = web.AppKey("queue", QueueClient)
SQL: web.AppKey[SqlService | None] = web.AppKey("sql")
FEED = web.AppKey("feed", Feed)
KEYRING = web.AppKey("keyring", Keyring)
RATE_LIMIT: web.AppKey[RateLimit | None] = web.AppKey("rate_limit")
LEDGER: web.AppKey[Ledger | NoLedger] = web.AppKey("ledger")

EXPORT: web.AppKey[SpanExport | None] = web.AppKey("export")

REQUEST_ID = web.RequestKey("request_id", str)
TRACE = web.RequestKey("trace", Trace)
CALLER = web.RequestKey("caller", str)  # prefix of the API key
CLIENT = web.RequestKey("client", str)  # who shares a quota: the key's prefix, or the network while no key is needed
IS_GUARDED = web.RequestKey("is_guarded", bool)  # its answer is for whoever showed the key
QUOTA: web.RequestKey[Quota | None] = web.RequestKey("quota")
