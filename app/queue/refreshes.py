"""What came of the last refresh of the artifacts, in Redis, and who refreshes at the moment."""

from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import cast

from arq.connections import ArqRedis
from redis.exceptions import LockError

from app.queue.redis import REDIS_ERRORS
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import dumps, loads
from app.runtime import run_in_background

_LEASE_S = 60.0  # so long after its process was killed another may begin
_RENEW_S = 15.0


class RefreshState(StrEnum):
    """Where a refresh is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LastRefresh:
    """The last refresh, with a sentence about it; `again_at`: when a failed one is tried again by itself."""

    state: RefreshState
    detail: str
    at: datetime
    again_at: datetime | None = None

    @property
    def fault(self) -> str | None:
        """Why the artifacts are not as new as they could be."""
        if self.state is not RefreshState.FAILED:
            return None
        again = f"; tried again at {self.again_at:%H:%M} UTC" if self.again_at else ""
        return f"the refresh of {self.at:%d %B %H:%M} UTC failed: {self.detail}{again}"


class Refreshes:
    """The refreshes of one queue's artifacts. Its methods let errors of Redis through."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._name = names.refresh
        self._lock_name = names.refresh_lock

    async def note(self, state: RefreshState, detail: str, again_at: datetime | None = None) -> None:
        """Say what came of the last refresh."""
        said = asdict(LastRefresh(state, detail, datetime.now(UTC), again_at))
        plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in said.items()}
        await self._redis.set(self._name, dumps(plain))

    async def newest(self) -> LastRefresh | None:
        """Return the last refresh; None when there was none."""
        raw = await cast("Awaitable[bytes | None]", self._redis.get(self._name))
        if raw is None:
            return None
        said = loads(raw)
        again_at = said["again_at"] and datetime.fromisoformat(said["again_at"])
        return LastRefresh(RefreshState(said["state"]), said["detail"], datetime.fromisoformat(said["at"]), again_at)

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[bool]:
        """Give whether this process may refresh: one at a time, whichever machine it is on."""
        lock = self._redis.lock(self._lock_name, timeout=_LEASE_S, blocking=False)
        if not await lock.acquire():
            yield False
            return

        async def renew() -> None:
            while True:
                await sleep(_RENEW_S)
                try:
                    await lock.reacquire()
                except (LockError, *REDIS_ERRORS):
                    continue  # the folder has a lock of its own

        try:
            async with run_in_background(renew()):
                yield True
        finally:
            try:
                await lock.release()
            except (LockError, *REDIS_ERRORS):
                pass  # it ends by itself
