"""An API key: how one is made, what of it is kept, and how one that was shown is recognised."""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.access.scope import Scope

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
        return hmac.compare_digest(digest(text), self.sha256)

    def ended(self, now: datetime) -> str | None:
        """Why the key is not good any more: `revoked` or `expired`; None while it is."""
        if self.revoked_at is not None and self.revoked_at <= now:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else None


def new_key(owner: str, scopes: frozenset[Scope], *, expires_at: datetime | None = None) -> tuple[str, Key]:
    """A key as its owner gets it, once, and what is kept of it."""
    text = f"{secrets.token_hex(_PREFIX_BYTES)}.{secrets.token_urlsafe(_SECRET_BYTES)}"
    return text, kept(text, owner, scopes, expires_at=expires_at)


def kept(text: str, owner: str, scopes: frozenset[Scope], *, expires_at: datetime | None = None) -> Key:
    """What is kept of a key."""
    return Key(
        prefix=prefix_of(text),
        sha256=digest(text),
        owner=owner,
        scopes=scopes,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
    )


def prefix_of(text: str) -> str:
    """The part of a key that may be told; empty when `text` is no key."""
    prefix, dot, secret = text.partition(".")
    return prefix if dot and secret and PREFIX.fullmatch(prefix) else ""


def digest(text: str) -> str:
    """The hash that is kept."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
