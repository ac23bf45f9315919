"""Writes, checks and publishes the artifacts."""
