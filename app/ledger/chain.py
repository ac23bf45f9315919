"""The hash chain over a table's rows: how a row is encoded, and how it takes in the hash of the one before it.

    row_hash = SHA-256(prev_hash || seq || value || value ...)

`seq` is a big-endian int64. A value is the byte 0 where it is null, otherwise the byte 1 and then: int64 (bigint),
IEEE 754 double, int64 of microseconds since 2000-01-01 UTC (timestamptz), 16 bytes (uuid), or the length in bytes as
int32 and UTF-8 (text), all big-endian. A column that came later adds nothing where it is null, so that the rows from
before it keep their hashes; it stands last, so no two rows have the same bytes. These are the bytes of PostgreSQL's own
`*_send` functions, so that the database can compute a hash too (`prediction_ledger_hash` in migration 005) and nothing
depends on how a library writes JSON.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import NoneType
from typing import Any, get_args
from uuid import UUID

from app.ledger.rows import LedgerRow, ShadowRow

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT, _DOUBLE, _LENGTH = struct.Struct(">q"), struct.Struct(">d"), struct.Struct(">i")
_NULL, _PRESENT = b"\0", b"\1"

# what a value that fits no column raises: a year without time zone, a number beyond 64 bits, half a surrogate pair
UNFIT = (struct.error, TypeError, ValueError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The place of a row in its chain; `row_hash` has 32 bytes."""

    seq: int
    row_hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.row_hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> "ChainHead":
        """The link of `SEQ:HASH`; ValueError when it is none."""
        seq, _, digest = text.partition(":")
        found = cls(int(seq), bytes.fromhex(digest))
        if found.seq < 0 or len(found.row_hash) != len(GENESIS.row_hash):
            raise ValueError(f"{text!r} is not SEQ:HASH")
        return found


GENESIS = ChainHead(0, bytes(32))


class Chain:
    """One table whose rows are chained."""

    def __init__(self, table: str, row_type: type[Any], number: int, *, n_later: int = 0) -> None:
        """`n_later`: how many of the last columns came after the first rows."""
        self.table = table
        self.number = number  # of its advisory lock
        self.columns = tuple(field.name for field in fields(row_type))
        self._encoders = tuple(_encoder(field.type) for field in fields(row_type))
        self._absent = (_NULL,) * (len(self.columns) - n_later) + (b"",) * n_later

    def encode(self, values: Sequence[Any]) -> bytes:
        """The values of a row, in the order of `columns`, as the hash takes them; one of UNFIT when they cannot be."""
        return b"".join(
            [
                absent if value is None else _PRESENT + encode(value)
                for encode, absent, value in zip(self._encoders, self._absent, values, strict=True)
            ]
        )


def next_hash(head: ChainHead, encoded: bytes) -> ChainHead:
    """The link of the row after `head`."""
    seq = head.seq + 1
    return ChainHead(seq, sha256(head.row_hash + _INT.pack(seq) + encoded).digest())


def _encoder(annotation: Any) -> Callable[[Any], bytes]:
    (kind,) = [part for part in get_args(annotation) or (annotation,) if part is not NoneType]
    return _ENCODERS[kind]


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def _instant(value: datetime) -> bytes:
    return _INT.pack((value - _EPOCH) // _MICROSECOND)


def _uuid(value: UUID) -> bytes:
    return value.bytes


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    int: _INT.pack,
    float: _DOUBLE.pack,
    str: _text,
    datetime: _instant,
    UUID: _uuid,
}

PREDICTIONS = Chain("prediction_ledger", LedgerRow, 1, n_later=1)
SHADOWS = Chain("shadow_ledger", ShadowRow, 2)
CHAINS = (PREDICTIONS, SHADOWS)
