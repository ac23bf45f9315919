"""Artifact files: their contract, and private copies of one version of them; no DuckDB here."""
