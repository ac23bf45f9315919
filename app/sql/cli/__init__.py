"""The operator's SQL console: `scripts/sql`."""
