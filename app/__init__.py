"""Touchline's HTTP service, and the half of it that worker and dashboards share."""

__version__ = "0.2.0"
