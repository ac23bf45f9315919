"""Fixtures of the chaos tests."""

from tests.live import registry

__all__ = ["registry"]
