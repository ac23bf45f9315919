"""API keys for tests."""

from datetime import UTC, datetime, timedelta

from app.auth import keys as auth_keys
from app.auth.keys import Key, Scope, new_key

EVERYTHING = frozenset(Scope)


def a_key(*scopes: Scope, owner: str = "tester", lasts_s: float | None = None) -> tuple[str, Key]:
    """A key with some scopes, with all of them unless named; ended already when `lasts_s` is negative."""
    expires_at = None if lasts_s is None else datetime.now(UTC) + timedelta(seconds=lasts_s)
    return new_key(owner, frozenset(scopes) or EVERYTHING, expires_at=expires_at)


def as_setting(*keys: Key) -> str:
    """The keys as API_KEYS takes them."""
    return auth_keys.dump_keys(keys).decode()
