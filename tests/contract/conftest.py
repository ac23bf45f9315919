"""Fixtures of the contract tests."""

from tests.support.serving import artifacts, client, serve

__all__ = ["artifacts", "client", "serve"]
