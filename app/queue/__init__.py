"""The port to the worker pool."""
