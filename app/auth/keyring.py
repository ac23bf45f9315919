"""The API keys this process honours: a new one at once, a revoked one for a second more at most."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from app.auth import keys as auth_keys
from app.auth.keys import Key, key_prefix, new_key
from app.errors import KeyInvalid
from app.runtime import cancel_and_wait
from app.settings import KeySettings

log = structlog.get_logger(__name__)

REREAD_S = 1.0
_NOBODY = new_key("nobody", frozenset())[1]
_Stamp = tuple[int, int, int]  # inode, time of the last change in ns, size


def load_keys(settings: KeySettings) -> list[Key]:
    """Return the keys of the environment and of the file; raise OSError or ValueError when they cannot be read."""
    given = settings.given
    return [
        *(auth_keys.parse_keys(given.get_secret_value()) if given else ()),
        *auth_keys.read_keys(settings.file),
    ]


class Keyring:
    """Finds keys. Once it has held one, it never opens again: a file that vanishes or breaks changes nothing."""

    def __init__(self, keys: Sequence[Key] = (), settings: KeySettings | None = None) -> None:
        self._by_prefix: dict[str, Key] = {}
        self._settings = settings
        self._seen: _Stamp | None = None
        self._fault: str | None = None
        self._rereading = asyncio.Lock()
        self.is_open = True  # no key was ever needed
        self.replace(keys)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KeySettings) -> "AsyncIterator[Keyring]":
        """The keys of these settings, followed until the end; OSError or ValueError when they cannot be read now."""
        keyring = cls(await asyncio.to_thread(load_keys, settings), settings)
        watch = asyncio.create_task(keyring._watch(), name="keys")
        try:
            yield keyring
        finally:
            await cancel_and_wait(watch)

    def replace(self, keys: Sequence[Key]) -> None:
        """Honour these and no others."""
        self._by_prefix = {key.prefix: key for key in keys}
        self.is_open = self.is_open and not keys

    def find(self, text: str) -> Key:
        """The key that was shown; KeyInvalid when it is unknown, revoked or expired."""
        # a prefix that nobody has takes as much work as one that exists
        key = self._by_prefix.get(key_prefix(text), _NOBODY)
        if not key.matches(text) or key is _NOBODY:
            raise KeyInvalid("No such API key.")
        ended = key.end_reason(datetime.now(UTC))
        if ended:
            raise KeyInvalid(f"The API key {key.prefix} is {ended}.")
        return key

    async def reread(self) -> None:
        """Take the keys of the file if it has changed; one stat() where it has not."""
        if self._settings is None:
            return
        # one look at a time: an older one never overtakes a newer, and a disk that hangs holds one thread
        async with self._rereading:
            try:
                stamp = await asyncio.to_thread(_stamp, self._settings.file)
                if stamp != self._seen:
                    self._take(await asyncio.to_thread(load_keys, self._settings), is_there=stamp is not None)
                self._seen, self._fault = stamp, None
            except (OSError, ValueError) as error:
                if str(error) != self._fault:
                    log.error("keys.unreadable", fault=str(error))  # the last ones stay good
                self._fault = str(error)

    async def _watch(self) -> None:
        while True:
            await self.reread()
            await asyncio.sleep(REREAD_S)

    def _take(self, keys: list[Key], *, is_there: bool) -> None:
        if not (is_there or self.is_open or keys):
            log.error("keys.missing")  # the last ones stay good
            return
        was_open, before = self.is_open, self._by_prefix
        self.replace(keys)
        if self._by_prefix != before:
            log.info("keys.loaded", keys=len(keys), required_from_now=was_open and not self.is_open)


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
