"""The match page: a client of the HTTP API."""
