"""What a key may do."""

from enum import StrEnum


class Scope(StrEnum):
    """The right that an endpoint asks for."""

    READ = "read"
    PREDICT = "predict"
    MONITOR = "monitor"
    SQL = "sql"
    ADMIN = "admin"
