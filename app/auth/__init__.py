"""Who may ask: API keys, scopes, and the rate limit."""
