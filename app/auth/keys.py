"""API keys: scopes, how a key is made and checked, and the file that holds them, written by one writer at a time."""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class Scope(StrEnum):
    """The right that an endpoint asks for."""

    READ = "read"
    PREDICT = "predict"
    MONITOR = "monitor"
    SQL = "sql"
    ADMIN = "admin"


_PREFIX_BYTES = 5
_SECRET_BYTES = 32
PREFIX = re.compile(r"[a-z0-9]{4,32}")


class Key(BaseModel):
    """What is kept of a key: everything but the secret.

    One SHA-256 is enough for a secret of 256 random bits; a slow hash is for words that people choose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: Annotated[str, Field(pattern=f"^{PREFIX.pattern}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    owner: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scopes: frozenset[Scope]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def matches(self, text: str) -> bool:
        """Whether `text` is this key; takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(key_digest(text), self.sha256)

    def end_reason(self, now: datetime) -> str | None:
        """Why the key is not good any more: `revoked` or `expired`; None while it is."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else None


def new_key(owner: str, scopes: frozenset[Scope], *, expires_at: datetime | None = None) -> tuple[str, Key]:
    """A key as its owner gets it, once, and what is kept of it."""
    text = f"{secrets.token_hex(_PREFIX_BYTES)}.{secrets.token_urlsafe(_SECRET_BYTES)}"
    return text, hash_key(text, owner, scopes, expires_at=expires_at)


def hash_key(text: str, owner: str, scopes: frozenset[Scope], *, expires_at: datetime | None = None) -> Key:
    """Return what is kept of a key: everything but the secret."""
    return Key(
        prefix=key_prefix(text),
        sha256=key_digest(text),
        owner=owner,
        scopes=scopes,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
    )


def key_prefix(text: str) -> str:
    """The part of a key that may be told; empty when `text` is no key."""
    prefix, dot, secret = text.partition(".")
    return prefix if dot and secret and PREFIX.fullmatch(prefix) else ""


def key_digest(text: str) -> str:
    """The hash that is kept."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


_KEYS = TypeAdapter(list[Key])


def parse_keys(raw: str | bytes) -> list[Key]:
    """Keys from a JSON list; ValueError, which quotes nothing of it, when it is none."""
    try:
        keys = _KEYS.validate_json(raw)
    except ValidationError as error:
        raise ValueError(f"no list of API keys: {_first_fault(error)}") from None
    prefixes = [key.prefix for key in keys]
    if doubled := {prefix for prefix in prefixes if prefixes.count(prefix) > 1}:
        raise ValueError(f"API keys with the same prefix: {', '.join(sorted(doubled))}")
    return keys


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip()


def dump_keys(keys: Sequence[Key]) -> bytes:
    """Keys as a JSON list."""
    return _KEYS.dump_json(list(keys), indent=1) + b"\n"


def read_keys(path: Path) -> list[Key]:
    """The keys of a file, none when there is no file; OSError or ValueError when it cannot be read."""
    try:
        return parse_keys(path.read_bytes())
    except FileNotFoundError:
        return []


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Put a whole new file in place, readable for its owner alone."""
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    half.write_bytes(dump_keys(keys))
    half.replace(path)


@contextmanager
def edit_keys(path: Path) -> Iterator[list[Key]]:
    """The keys, to be changed in place and written back at the end of the block; other writers wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read_keys(path)
        yield keys
        write_keys(path, keys)
    finally:
        os.close(lock)
