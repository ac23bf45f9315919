"""The file of API keys: read whole, written whole, by one writer at a time."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.access.key import Key

_KEYS = TypeAdapter(list[Key])


def parse(raw: str | bytes) -> list[Key]:
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


def dump(keys: Sequence[Key]) -> bytes:
    """Keys as a JSON list."""
    return _KEYS.dump_json(list(keys), indent=1) + b"\n"


def read(path: Path) -> list[Key]:
    """The keys of a file, none when there is no file; OSError or ValueError when it cannot be read."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return []


def write(path: Path, keys: Sequence[Key]) -> None:
    """Put a whole new file in place, readable for its owner alone."""
    half = path.with_name(f"{path.name}.{os.getpid()}.half")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    half.write_bytes(dump(keys))
    half.replace(path)


@contextmanager
def editing(path: Path) -> Iterator[list[Key]]:
    """The keys, to be changed in place and written back at the end of the block; other writers wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read(path)
        yield keys
        write(path, keys)
    finally:
        os.close(lock)
