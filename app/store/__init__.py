"""The read side: one module per data set, one door to DuckDB."""
