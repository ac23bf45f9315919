"""Jobs that were given up after too many tries: to be read, tried again, or dropped."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, cast

from arq.connections import ArqRedis
from arq.jobs import serialize_job

from app.errors import TaskNotFound
from app.queue import keys
from app.queue.wire import dumps, loads

ANOTHER_CHANCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One job that was given up."""

    job_id: str
    function: str
    args: list[Any]
    reason: str
    died_at: datetime
    raw: str


class DeadLetters:
    """The list of them, newest first."""

    def __init__(self, redis: ArqRedis, names: keys.Keys) -> None:
        self._redis = redis
        self._names = names

    async def all(self) -> list[DeadLetter]:
        """Every letter there is; the list is bounded."""
        letters = await cast("Awaitable[list[bytes]]", self._redis.lrange(self._names.dead, 0, -1))
        return [_letter_of(raw.decode()) for raw in letters]

    async def retry(self, job_id: str) -> None:
        """Put the job back into the queue with a new deadline."""
        letter = await self._get(job_id)
        now_s = time()
        args = tuple(
            arg | {"deadline_at": now_s + ANOTHER_CHANCE_S} if isinstance(arg, dict) else arg for arg in letter.args
        )
        now_ms = round(now_s * 1000)
        job = serialize_job(letter.function, args, {}, None, now_ms, serializer=dumps)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.RESULT + job_id, keys.RETRY + job_id)
            pipe.psetex(keys.JOB + job_id, keys.JOB_TTL_S * 1000, job)
            pipe.zadd(self._names.queue, {job_id: now_ms})
            pipe.lrem(self._names.dead, 0, letter.raw)
            pipe.publish(self._names.wake, b"1")
            await pipe.execute()

    async def drop(self, job_id: str) -> None:
        """Forget it."""
        letter = await self._get(job_id)
        await cast("Awaitable[int]", self._redis.lrem(self._names.dead, 0, letter.raw))

    async def _get(self, job_id: str) -> DeadLetter:
        for letter in await self.all():
            if letter.job_id == job_id:
                return letter
        raise TaskNotFound(f"No dead letter of task {job_id}.", task_id=job_id)


def _letter_of(raw: str) -> DeadLetter:
    letter = loads(raw)
    died_at = datetime.fromtimestamp(letter["at_ms"] / 1000, UTC)
    return DeadLetter(letter["job_id"], letter["f"], letter["a"], letter["reason"], died_at, raw)
