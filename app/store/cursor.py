"""Where a page of cards ended: the sort key and match of its last row, as an opaque word."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

import orjson

from app.errors import InvalidRequest
from app.store.selection import Selection

_FARTHEST_US = 62_135_596_800_000_000  # from 1970 to the year 1, in microseconds; times later than 3938 are not asked


class Order(StrEnum):
    """Order of cards; every order ends with the match id, so that it is total."""

    KICKOFF = "kickoff"
    KICKOFF_DESC = "-kickoff"
    EDGE = "edge"
    EDGE_DESC = "-edge"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in one order of one selection."""

    order: Order
    selected: str
    key: float  # a whole number of microseconds, or an edge
    match_id: int

    def encode(self) -> str:
        """As it goes into a URL."""
        word = orjson.dumps([self.order, self.selected, self.key, self.match_id])
        return urlsafe_b64encode(word).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, order: Order, selected: str) -> "Cursor":
        """Read one; InvalidRequest when it is none, or of another order or selection."""
        try:
            found, of, key, match_id = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            cursor = cls(Order(found), str(of), _number(key, Order(found)), int(match_id))
        except (ValueError, TypeError) as error:
            raise InvalidRequest("The cursor is not one that this service gave.") from error
        if cursor.order is not order:
            raise InvalidRequest(f"The cursor belongs to sort={cursor.order.value}, not {order.value}.")
        if cursor.selected != selected:
            raise InvalidRequest("The cursor belongs to another filter. Leave it out to begin at the first page.")
        return cursor


def digest(selection: Selection) -> str:
    """A short word that tells one selection from another."""
    return blake2b(selection.written().encode(), digest_size=6).hexdigest()


def _number(value: object, order: Order) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    if order in {Order.KICKOFF, Order.KICKOFF_DESC} and not (isinstance(value, int) and abs(value) < _FARTHEST_US):
        raise ValueError("not a time")
    return value
