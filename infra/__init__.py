"""Python side of infra."""
