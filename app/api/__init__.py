"""Resources of the HTTP API."""
