"""`python -m app.auth create | list | revoke | rotate | check`: the file of API keys."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.auth import keys as auth_keys
from app.auth.keyring import Keyring, load_keys
from app.auth.keys import Key, Scope, new_key
from app.errors import KeyInvalid
from app.settings import KeySettings, Settings

OVERLAP_DAYS = 7.0
Arguments = argparse.Namespace


def create(settings: KeySettings, arguments: Arguments) -> list[str]:
    """A new key, shown once."""
    text, key = new_key(arguments.owner, arguments.scopes, expires_at=_in_days(arguments.days))
    with auth_keys.edit_keys(settings.file) as keys:
        keys.append(key)
    return [text]


def show(settings: KeySettings, _arguments: Arguments) -> list[str]:
    """All keys there are, without their secrets."""
    now = datetime.now(UTC)
    return [_line(key, now) for key in load_keys(settings)] or ["no keys yet"]


def revoke(settings: KeySettings, arguments: Arguments) -> list[str]:
    """End a key now."""
    now = datetime.now(UTC)
    _change(settings.file, arguments.prefix, lambda key: key.model_copy(update={"revoked_at": key.revoked_at or now}))
    return [f"{arguments.prefix} is revoked; a running API knows within a second"]


def rotate(settings: KeySettings, arguments: Arguments) -> list[str]:
    """Another key of the same owner and scopes, for as long a time; the old one lasts a while longer."""
    now = datetime.now(UTC)
    last = now + timedelta(days=arguments.overlap_days)
    with auth_keys.edit_keys(settings.file) as keys:
        place = _place(keys, arguments.prefix)
        old = keys[place]
        if ended := old.end_reason(now):
            raise ValueError(f"{old.prefix} is {ended}; create another key")
        until = now + (old.expires_at - old.created_at) if old.expires_at else None
        text, new = new_key(
            old.owner, old.scopes, expires_at=until if arguments.days is None else _in_days(arguments.days)
        )
        keys[place] = old.model_copy(update={"expires_at": min(old.expires_at or last, last)})
        keys.append(new)
    return [text]


def check(settings: KeySettings, _arguments: Arguments) -> list[str]:
    """Who the key on standard input belongs to, and what it may do."""
    key = Keyring(load_keys(settings)).find(sys.stdin.readline().strip())
    return [_line(key, datetime.now(UTC))]


def _line(key: Key, now: datetime) -> str:
    until = f"until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "for good"
    return f"{key.prefix}  {key.end_reason(now) or until:<22}  {','.join(sorted(key.scopes)):<32}  {key.owner}"


def _in_days(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _change(path: Path, prefix: str, changed: Callable[[Key], Key]) -> None:
    with auth_keys.edit_keys(path) as keys:
        place = _place(keys, prefix)
        keys[place] = changed(keys[place])


def _place(keys: list[Key], prefix: str) -> int:
    for place, key in enumerate(keys):
        if key.prefix == prefix:
            return place
    raise ValueError(f"The file has no key {prefix}.")


def _scopes(text: str) -> frozenset[Scope]:
    words = frozenset(text.split(","))
    if unknown := words - set(Scope):
        raise argparse.ArgumentTypeError(f"no scope {', '.join(sorted(unknown))}; there are {', '.join(Scope)}")
    return frozenset(map(Scope, words))


ACTIONS: dict[str, Callable[[KeySettings, Arguments], list[str]]] = {
    "create": create,
    "list": show,
    "revoke": revoke,
    "rotate": rotate,
    "check": check,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/keys", description="The API keys; only their hashes are kept.")
    actions = parser.add_subparsers(dest="action", required=True)
    each = {name: actions.add_parser(name, help=(action.__doc__ or "").lower()) for name, action in ACTIONS.items()}
    each["create"].add_argument("owner", help="who gets it")
    each["create"].add_argument("--scopes", type=_scopes, required=True, help=f"of {','.join(Scope)}")
    each["revoke"].add_argument("prefix", help="what stands before the dot")
    each["rotate"].add_argument("prefix", help="what stands before the dot")
    each["rotate"].add_argument("--overlap-days", type=float, default=OVERLAP_DAYS, help="how long the old one lasts")
    each["create"].add_argument("--days", type=float, help="how long it lasts; for good unless given")
    each["rotate"].add_argument("--days", type=float, help="how long the new one lasts; else as the old one")
    return parser


def main() -> None:
    """Do what the command line says."""
    arguments = _parser().parse_args()
    try:
        lines = ACTIONS[arguments.action](Settings().keys, arguments)
    except KeyInvalid as error:
        sys.exit(error.detail)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
