"""Passwords of the embedded servers, made once and kept readable for their owner alone."""

import os
import secrets
from pathlib import Path


def secret(path: Path) -> str:
    """The secret in the file, made when there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
            file.write(secrets.token_urlsafe(24))
    return path.read_text()
