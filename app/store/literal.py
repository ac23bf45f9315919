"""Values as DuckDB reads them where they cannot be bound as they are: they stay values, whatever is in them."""

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

_NO, _YES = b"01"


def literal(value: str | float | datetime) -> str:
    """A text, number, flag or aware time as DuckDB reads it."""
    if isinstance(value, str):
        # the one escape that a standard literal has; DuckDB knows no backslash in it, and no text holds a NUL
        return "'" + value.replace("'", "''").replace("\0", "") + "'"
    if isinstance(value, datetime):
        # with the offset it came with: the first and the last days of the calendar have no other
        return f"TIMESTAMPTZ '{value.isoformat(sep=' ')}'"
    if isinstance(value, bool):
        return str(value).lower()
    # a decimal point would make it a DECIMAL, whose digits are few
    return f"'{value!r}'::DOUBLE" if isinstance(value, float) else str(value)


def bitstring(places: npt.NDArray[np.integer[Any]], length: int) -> str:
    """What becomes a BIT of that length with ones at these places, the first of which is 0."""
    bits = np.full(length, _NO, np.uint8)
    bits[places] = _YES
    return bits.tobytes().decode()
