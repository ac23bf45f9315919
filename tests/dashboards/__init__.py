"""The dashboards tests."""
