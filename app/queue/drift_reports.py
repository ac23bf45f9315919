"""The newest drift report in Redis, where every API process finds it, whichever machine made it."""

import zlib
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from arq.connections import ArqRedis

from app.queue.redis_keys import RedisKeys
from app.queue.serialization import dumps, loads

_REPORT, _PAGE, _CHECK = "report", "page", "check"


@dataclass(frozen=True, slots=True)
class LastCheck:
    """What came of the last scheduled check."""

    state: str
    detail: str
    at: datetime


class DriftReports:
    """The report of one queue's workers, as data and as a page. Its methods let errors of Redis through."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._name = names.drift
        self._lock_name = names.drift_lock

    async def publish(self, report: bytes, page: bytes) -> None:
        """Put a report in the place of the last."""
        fields = {_REPORT: report, _PAGE: zlib.compress(page)}
        await cast("Awaitable[int]", self._redis.hset(self._name, mapping=fields))

    async def note(self, state: str, detail: str) -> None:
        """Remember what came of a check."""
        check = dumps({"state": state, "detail": detail, "at": datetime.now(UTC).isoformat()})
        await cast("Awaitable[int]", self._redis.hset(self._name, _CHECK, check.decode()))

    async def newest(self) -> tuple[bytes | None, LastCheck | None]:
        """The report as JSON, and the last check."""
        report, check = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(self._name, [_REPORT, _CHECK]))
        return report, None if check is None else _check_of(check)

    async def page(self) -> bytes | None:
        """The report as a page."""
        page = await cast("Awaitable[bytes | None]", self._redis.hget(self._name, _PAGE))
        return None if page is None else zlib.decompress(page)

    async def begin(self, owner: str, ttl_s: float) -> bool:
        """Whether this check may run: one at a time of all workers. The claim ends by itself; its owner gets it again.

        So a job whose worker was killed can be tried again by another.
        """
        if await self._redis.set(self._lock_name, owner, nx=True, px=round(ttl_s * 1000)):
            return True
        return await self._is_held_by(owner)

    async def end(self, owner: str) -> None:
        """Let the next one run."""
        if await self._is_held_by(owner):
            await self._redis.delete(self._lock_name)

    async def _is_held_by(self, owner: str) -> bool:
        held = await self._redis.get(self._lock_name)
        return held is not None and held.decode() == owner


def _check_of(raw: bytes) -> LastCheck:
    payload = loads(raw)
    # checks of version 0.1 spell their state with spaces
    return LastCheck(payload["state"].replace(" ", "_"), payload["detail"], datetime.fromisoformat(payload["at"]))
