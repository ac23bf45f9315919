"""The worker pool, and the batch pipeline that trains what it serves."""

import app as app  # before MLflow: it turns telemetry off
