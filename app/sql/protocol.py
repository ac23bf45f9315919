"""What goes to the process of a query, and to the one that it is forked from, and what comes back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

READY = b"ready\n"
FORK, KILL, STARTED, ENDED = b"fork", b"kill", b"started", b"ended"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one query may take; memory is DuckDB's, and the process gets as much again for the rest."""

    timeout_s: float = 10.0
    max_rows: int = 100_000
    max_bytes: int = 16 * 2**20
    memory_mb: int = 512


@dataclass(frozen=True, slots=True)
class SqlRequest:
    """A query, the databases by name of which the first is the default, and the media type of the answer."""

    sql: str
    databases: dict[str, Path]
    media: str
    bounds: Bounds

    def encode(self) -> bytes:
        """As one line."""
        return orjson.dumps(asdict(self), default=str) + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "SqlRequest":
        """Read one."""
        raw: dict[str, Any] = orjson.loads(line)
        databases = {name: Path(path) for name, path in raw["databases"].items()}
        return cls(raw["sql"], databases, raw["media"], Bounds(**raw["bounds"]))


@dataclass(frozen=True, slots=True)
class SqlFailure(Exception):
    """Why there is no answer: `code` is that of an error of the API."""

    code: str
    detail: str


def encode_answer(body: bytes, n_rows: int) -> bytes:
    """A line that says how many rows there are, then the body."""
    return orjson.dumps({"rows": n_rows}) + b"\n" + body


def encode_failure(failure: SqlFailure) -> bytes:
    """A line that says what went wrong."""
    return orjson.dumps({"code": failure.code, "detail": failure.detail}) + b"\n"


def decode_answer(raw: bytes) -> tuple[bytes, int]:
    """The body and the number of its rows; Failure, ValueError when it is neither."""
    line, found, body = raw.partition(b"\n")
    said = orjson.loads(line)
    if not found or not isinstance(said, dict):
        raise ValueError("not an answer")
    if "code" in said:
        raise SqlFailure(str(said["code"]), str(said["detail"]))
    return body, int(said["rows"])
