"""The prediction ledger in PostgreSQL."""
