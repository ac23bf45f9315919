"""Sends requests to Redis: concurrent ones share one round trip."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any

from arq.connections import ArqRedis

from app.queue import redis_keys
from app.queue.hot_connection import HotConnection
from app.queue.jobs import PredictionRequest
from app.queue.redis import LUA_NOW_MS, REDIS_ERRORS, RedisClock, queue_unavailable
from app.queue.serialization import dumps, encode_request

log = logging.getLogger(__name__)

BATCH = 256  # bounds how long one call keeps Redis busy

ADDED, SHARED = 0, 1  # other replies: -n = refused, n are waiting; bytes = the answer is known

FEATURES_MISSING = b"features"  # in the place of all replies: nothing was put into the queue

UNKNOWN, BUSY, CANCELLED = 0, 1, 2  # replies to a cancellation

# New jobs go straight to workers that wait, each with its lease and its first try, as if they had claimed them. What
# nobody receives is a lease that nobody renews.
_PUT = f"""{LUA_NOW_MS}
local queue, waiter_count, deadlines, wake, idle = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- a worker that comes later needs the feature names, which a flush or a fail-over may have taken
for i = 6, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then return '{FEATURES_MISSING.decode()}' end
end
local limit, ttl_ms, hand_over = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local waiting, left, ids, claims, replies = redis.call('ZCARD', queue), 0, {{}}, {{}}, {{}}
for i = 4, #ARGV, 4 do
  local id, job, wait_s, anew = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local deadline = string.format('%.3f', now_ms / 1000 + wait_s)
  if anew == '1' then redis.call('DEL', '{redis_keys.RESULT}' .. id) end
  local answer = redis.call('GET', '{redis_keys.RESULT}' .. id)
  if answer then
    replies[#replies + 1] = answer
  elseif redis.call('EXISTS', '{redis_keys.JOB}' .. id) == 1 then
    redis.call('ZADD', queue, 'NX', now_ms, id)
    -- a job without an entry is a stock client's: it is not ours to withdraw
    if redis.call('HEXISTS', waiter_count, id) == 1 then
      redis.call('HINCRBY', waiter_count, id, 1)
      if tonumber(redis.call('HGET', deadlines, id) or 0) < tonumber(deadline) then
        redis.call('HSET', deadlines, id, deadline)
      end
    end
    replies[#replies + 1] = {SHARED}
  elseif waiting >= limit then
    replies[#replies + 1] = -waiting
  else
    redis.call('PSETEX', '{redis_keys.JOB}' .. id, ttl_ms, job)
    redis.call('ZADD', queue, now_ms, id)
    redis.call('HSET', waiter_count, id, 1)
    redis.call('HSET', deadlines, id, deadline)
    waiting = waiting + 1
    -- one that was tried before runs alone, so it is claimed
    if redis.call('EXISTS', '{redis_keys.IN_PROGRESS}' .. id, '{redis_keys.RETRY}' .. id) == 0 then
      ids[#ids + 1] = id
      claims[#claims + 1] = '[' .. cjson.encode(id) .. ',' .. job .. ',' .. deadline .. ']'
    else
      left = left + 1
    end
    replies[#replies + 1] = {ADDED}
  end
end
local taken, portion = 0, math.max({redis_keys.BATCH_MIN}, math.min({redis_keys.BATCH_MAX}, math.ceil(#ids / 2)))
while taken < #ids do
  local owner = redis.call('SPOP', idle)
  if not owner then break end
  local last = math.min(#ids, taken + portion)
  local message = '[' .. string.format('%.0f', now_ms) .. ',[' .. table.concat(claims, ',', taken + 1, last) .. ']]'
  -- an owner that nobody listens for any more is out of the set, and the next one has its turn
  if redis.call('PUBLISH', hand_over .. owner, message) > 0 then
    for i = taken + 1, last do
      redis.call('PSETEX', '{redis_keys.IN_PROGRESS}' .. ids[i], {round(redis_keys.LEASE_S * 1000)}, owner)
      redis.call('SETEX', '{redis_keys.RETRY}' .. ids[i], {redis_keys.TRY_TTL_S}, 1)
    end
    taken = last
  end
end
left = left + #ids - taken
if left > 0 then redis.call('PUBLISH', wake, left) end
return replies
"""

_WITHDRAW = f"""
local queue, waiter_count, deadlines = KEYS[1], KEYS[2], KEYS[3]
local withdrawn = 0
for _, id in ipairs(ARGV) do
  if redis.call('HEXISTS', waiter_count, id) == 1 and redis.call('HINCRBY', waiter_count, id, -1) <= 0
      and redis.call('EXISTS', '{redis_keys.IN_PROGRESS}' .. id) == 0 then
    redis.call('ZREM', queue, id)
    redis.call('DEL', '{redis_keys.JOB}' .. id, '{redis_keys.RETRY}' .. id)
    redis.call('HDEL', waiter_count, id)
    redis.call('HDEL', deadlines, id)
    withdrawn = withdrawn + 1
  end
end
return withdrawn
"""

# A job that somebody else waits for too is not one caller's to cancel; one without an entry is a stock client's.
_CANCEL = f"""
local queue, waiter_count, deadlines, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if redis.call('EXISTS', '{redis_keys.RESULT}' .. id, '{redis_keys.IN_PROGRESS}' .. id) > 0 then return {BUSY} end
if redis.call('EXISTS', '{redis_keys.JOB}' .. id) == 0 then return {UNKNOWN} end
if tonumber(redis.call('HGET', waiter_count, id) or 0) > 1 then return {BUSY} end
redis.call('ZREM', queue, id)
redis.call('DEL', '{redis_keys.JOB}' .. id, '{redis_keys.RETRY}' .. id)
redis.call('HDEL', waiter_count, id)
redis.call('HDEL', deadlines, id)
return {CANCELLED}
"""

Reply = int | bytes


@dataclass(frozen=True, slots=True)
class PendingJob:
    """A job on its way into the queue; `anew` drops a known result first."""

    task_id: str
    request: PredictionRequest
    anew: bool
    reply: "asyncio.Future[Reply]"


class Submitter:
    """Puts jobs into the queue and takes them back; while one batch travels the next one gathers."""

    def __init__(  # noqa: PLR0913  # what it works with
        self,
        redis: ArqRedis,
        names: redis_keys.RedisKeys,
        *,
        limit: int,
        feature_sets: Mapping[str, tuple[str, ...]],
        clock: RedisClock,
        connection: HotConnection,
    ) -> None:
        self._redis = redis
        self._names = names
        self._limit = limit
        self._clock = clock
        self._connection = connection
        self._feature_sets = feature_sets  # feature names by set: the workers read them in Redis
        self._keys = [names.queue, names.waiter_count, names.deadlines]
        self._put_keys = [*self._keys, names.wake, names.idle]
        self._put = redis.register_script(_PUT)
        self._withdraw = redis.register_script(_WITHDRAW)
        self._cancel = redis.register_script(_CANCEL)
        self._jobs: list[PendingJob] = []
        self._withdrawn: list[str] = []
        self._flusher: asyncio.Task[None] | None = None
        self._is_closed = False

    async def put(self, task_id: str, request: PredictionRequest, *, anew: bool = False) -> Reply:
        """Put a job into the queue and return what Redis replied; QueueUnavailable when it cannot be reached."""
        job = PendingJob(task_id, request, anew, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._schedule_flush()
        return await job.reply

    def withdraw(self, task_id: str) -> None:
        """Note that one caller less wants this task; the last one to go takes the job out of the queue."""
        if not self._is_closed:
            self._withdrawn.append(task_id)
            self._schedule_flush()

    async def cancel(self, task_id: str) -> int:
        """Take a waiting job out of the queue: UNKNOWN, BUSY or CANCELLED. Errors of Redis pass through."""
        return int(await self._cancel(self._keys, [task_id]))

    async def close(self) -> None:
        """Wait for what is under way; jobs withdrawn later are left to their deadline."""
        self._is_closed = True
        if self._flusher is not None:
            await self._flusher

    def _schedule_flush(self) -> None:
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="submit")

    async def _flush(self) -> None:
        while self._jobs or self._withdrawn:
            # taken together: a job is in Redis before it is withdrawn
            withdrawn, self._withdrawn = self._withdrawn, []
            while self._jobs:
                batch, self._jobs = self._jobs[:BATCH], self._jobs[BATCH:]
                await self._send(batch)
            if withdrawn:
                # where Redis is away, the deadline that travels with the job does the same a little later
                with suppress(*REDIS_ERRORS):
                    await self._connection.call(self._withdraw, self._keys, withdrawn)

    async def _send(self, batch: Sequence[PendingJob]) -> None:
        now = time()
        offset_s = self._clock.offset_s
        args: list[bytes | str | int | float] = [self._limit, redis_keys.JOB_TTL_S * 1000, self._names.hand_over]
        for job in batch:
            body = encode_request(job.request, round((now + offset_s) * 1000), offset_s=offset_s)
            args += [job.task_id, body, job.request.deadline_at - now, "1" if job.anew else "0"]
        try:
            replies = await self._put_with_features(batch, args)
        except REDIS_ERRORS as error:
            for job in batch:
                if not job.reply.done():
                    job.reply.set_exception(queue_unavailable(error))
            return
        for job, reply in zip(batch, replies, strict=True):
            if not job.reply.done():
                job.reply.set_result(reply)

    async def _put_with_features(self, batch: Sequence[PendingJob], args: Sequence[Any]) -> list[Reply]:
        feature_sets = {job.request.feature_set for job in batch} & self._feature_sets.keys()
        keys = [*self._put_keys, *map(self._names.features, feature_sets)]
        replies: list[Reply] | bytes = await self._connection.call(self._put, keys, args)
        while isinstance(replies, bytes):
            log.warning("features.missing: written again for the workers: %s", ", ".join(sorted(feature_sets)))
            await self.write_features(feature_sets)
            replies = await self._connection.call(self._put, keys, args)
        return replies

    async def write_features(self, feature_sets: Iterable[str]) -> None:
        """Write feature names into Redis, for the workers. Errors of Redis pass through."""
        for feature_set in feature_sets:
            names = dumps(self._feature_sets[feature_set])
            await self._redis.set(self._names.features(feature_set), names, ex=redis_keys.FEATURES_TTL_S)
