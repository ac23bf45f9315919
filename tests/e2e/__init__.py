"""The whole system, started as a stranger would."""
