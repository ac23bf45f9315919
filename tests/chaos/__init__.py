"""The chaos tests."""
