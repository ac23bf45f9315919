"""The match page: a client of the HTTP API."""

import app as app  # before Panel: it turns telemetry off
