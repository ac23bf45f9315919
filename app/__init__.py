"""Touchline's HTTP service, and the half of it that worker and dashboards share."""

import os

__version__ = "0.2.0"

# Libraries of ours report their use to their makers unless told not to; whoever sets one of these decides otherwise.
# Here, because every process of ours imports this package before it imports them.
for _name, _value in (
    ("DO_NOT_TRACK", "1"),
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("EVIDENTLY_DISABLE_TELEMETRY", "1"),
):
    os.environ.setdefault(_name, _value)  # noqa: TID251  # written for libraries, not read
