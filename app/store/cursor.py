"""Where a page of cards ended: the sort key and match of its last row, as an opaque word."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum

import orjson

from app.errors import InvalidRequest


class Order(StrEnum):
    """Order of cards; every order ends with the match id, so that it is total."""

    KICKOFF = "kickoff"
    KICKOFF_DESC = "-kickoff"
    EDGE = "-edge"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in one order."""

    order: Order
    key: float  # a whole number of microseconds, or an edge
    match_id: int

    def encode(self) -> str:
        """As it goes into a URL."""
        return urlsafe_b64encode(orjson.dumps([self.order, self.key, self.match_id])).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order) -> "Cursor":
        """Read one; InvalidRequest when it is none, or of another order."""
        try:
            found, key, match_id = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(Order(found), _number(key), int(match_id))
        except (ValueError, TypeError) as error:
            raise InvalidRequest("The cursor is not one that this service gave.") from error
        if cursor.order is not order:
            raise InvalidRequest(f"The cursor belongs to sort={cursor.order.value}, not {order.value}.")
        return cursor


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return value
