"""What lives in the application and in a request, by typed key."""

from datetime import datetime

from aiohttp import web

from app.access.keyring import Keyring
from app.access.rate import Quota, RateLimit
from app.feed.feed import Feed
from app.ledger.ledger import Ledger, NoLedger
from app.pulse import Pulse
from app.queue.port import PredictionQueue
from app.settings import Settings
from app.sql.desk import Desk
from app.store.gate import Gate
from app.store.snapshots import Snapshots
from app.telemetry.export import SpanExport
from app.telemetry.service import Metrics
from app.telemetry.trace import Trace

SETTINGS = web.AppKey("settings", Settings)
METRICS = web.AppKey("metrics", Metrics)
GATE = web.AppKey("gate", Gate)
STARTED_AT = web.AppKey("started_at", datetime)
OPENAPI = web.AppKey("openapi", bytes)
PULSE = web.AppKey("pulse", Pulse)
SNAPSHOTS = web.AppKey("snapshots", Snapshots)
QUEUE = web.AppKey("queue", PredictionQueue)
SQL: web.AppKey[Desk | None] = web.AppKey("sql")
FEED = web.AppKey("feed", Feed)
KEYRING = web.AppKey("keyring", Keyring)
RATE_LIMIT: web.AppKey[RateLimit | None] = web.AppKey("rate_limit")
LEDGER: web.AppKey[Ledger | NoLedger] = web.AppKey("ledger")

EXPORT: web.AppKey[SpanExport | None] = web.AppKey("export")

REQUEST_ID = web.RequestKey("request_id", str)
TRACE = web.RequestKey("trace", Trace)
CALLER = web.RequestKey("caller", str)  # prefix of the API key
QUOTA: web.RequestKey[Quota | None] = web.RequestKey("quota")
