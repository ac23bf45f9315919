"""Values written into SQL text, where they cannot be bound: they stay values, whatever is in them."""

from datetime import UTC, datetime


def literal(value: str | float | datetime) -> str:
    """A text, number, flag or aware time as DuckDB reads it."""
    if isinstance(value, str):
        # the one escape that a standard literal has; DuckDB knows no backslash in it, and no text holds a NUL
        return "'" + value.replace("'", "''").replace("\0", "") + "'"
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.astimezone(UTC).isoformat(sep=' ')}'"
    if isinstance(value, bool):
        return str(value).lower()
    # a decimal point would make it a DECIMAL, whose digits are few
    return f"'{value!r}'::DOUBLE" if isinstance(value, float) else str(value)
