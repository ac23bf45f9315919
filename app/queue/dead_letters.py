"""Jobs that were given up after too many tries: to be read, tried again, or dropped."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from arq.connections import ArqRedis
from arq.jobs import serialize_job
from redis.asyncio.client import Pipeline

from app.errors import TaskNotFound
from app.queue import redis_keys
from app.queue.serialization import dumps, loads

ANOTHER_CHANCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One job that was given up."""

    job_id: str
    function: str
    args: list[Any]
    reason: str
    died_at: datetime


class DeadLetters:
    """One for each job, however often it was given up; none for a job that was answered since."""

    def __init__(self, redis: ArqRedis, names: redis_keys.RedisKeys) -> None:
        self._redis = redis
        self._names = names

    async def all(self) -> list[DeadLetter]:
        """Every letter there is, newest first; their number is bounded."""
        job_ids = await self._redis.zrevrange(self._names.dead, 0, -1)
        if not job_ids:
            return []
        found = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(self._names.dead_letters, job_ids))
        return [_letter_of(raw.decode()) for raw in found if raw is not None]

    async def retry(self, job_id: str) -> None:
        """Put the job back into the queue with a new deadline."""
        letter = await self._get(job_id)
        seconds, microseconds = await self._redis.time()
        now_s = seconds + microseconds / 1e6
        args = tuple(
            arg | {"deadline_at": now_s + ANOTHER_CHANCE_S} if isinstance(arg, dict) else arg for arg in letter.args
        )
        now_ms = round(now_s * 1000)
        job = serialize_job(letter.function, args, {}, None, now_ms, serializer=dumps)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(redis_keys.RESULT + job_id, redis_keys.RETRY + job_id)
            pipe.psetex(redis_keys.JOB + job_id, redis_keys.JOB_TTL_S * 1000, job)
            pipe.zadd(self._names.queue, {job_id: now_ms})
            self._forget(pipe, job_id)
            pipe.publish(self._names.wake, b"1")
            await pipe.execute()

    async def drop(self, job_id: str) -> None:
        """Forget it."""
        await self._get(job_id)
        async with self._redis.pipeline(transaction=True) as pipe:
            self._forget(pipe, job_id)
            await pipe.execute()

    def _forget(self, pipe: Pipeline, job_id: str) -> None:
        pipe.zrem(self._names.dead, job_id)
        pipe.hdel(self._names.dead_letters, job_id)

    async def _get(self, job_id: str) -> DeadLetter:
        raw = await cast("Awaitable[bytes | None]", self._redis.hget(self._names.dead_letters, job_id))
        if raw is None:
            raise TaskNotFound(f"No dead letter of task {job_id}.", task_id=job_id)
        return _letter_of(raw.decode())


def _letter_of(raw: str) -> DeadLetter:
    letter = loads(raw)
    died_at = datetime.fromtimestamp(letter["at_ms"] / 1000, UTC)
    return DeadLetter(letter["job_id"], letter["f"], letter["a"], letter["reason"], died_at)
