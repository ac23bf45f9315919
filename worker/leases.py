"""Takes jobs out of arq's queue in batches, holds them, and hands in their answers: each in one call to Redis."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

import orjson
from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss

from app.queue import redis_keys
from app.queue.redis import REDIS_ERRORS

log = logging.getLogger(__name__)

LEASE_S = 3.0  # a killed worker's jobs are free again after this
RENEW_EVERY_S = 1.0
PAGE = 128
SCAN_MAX = 4_096  # how far to look past jobs that others hold
TRY_TTL_S = 88_400  # arq's own

_CLAIM = f"""
local queue, deadlines = KEYS[1], KEYS[2]
local now_ms, limit, lease_ms, owner = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local offset, claims, more = 0, {{}}, 0
while offset < {SCAN_MAX} do
  local ids = redis.call('ZRANGEBYSCORE', queue, '-inf', now_ms, 'LIMIT', offset, {PAGE})
  for _, id in ipairs(ids) do
    if #claims == limit then return {{1, claims}} end
    local tried = redis.call('GET', '{redis_keys.RETRY}' .. id)
    -- a job that was tried before may have brought its worker down: it runs alone, so that it takes no other with it
    if tried and #claims > 0 then
      more = 1
    elseif redis.call('SET', '{redis_keys.IN_PROGRESS}' .. id, owner, 'NX', 'PX', lease_ms) then
      local try = tonumber(tried or 0) + 1
      redis.call('SET', '{redis_keys.RETRY}' .. id, try, 'EX', {TRY_TTL_S})
      claims[#claims + 1] = {{id, redis.call('GET', '{redis_keys.JOB}' .. id), try, redis.call('HGET', deadlines, id)}}
      if tried then return {{1, claims}} end
    end
  end
  if #ids < {PAGE} then break end
  offset = offset + {PAGE}
end
return {{more, claims}}
"""

# Only the holder may answer; an expired lease that nobody took over still counts as held.
_HELD = f"""
local function held(queue, id, owner)
  local holder = redis.call('GET', '{redis_keys.IN_PROGRESS}' .. id)
  return holder == owner or (not holder and redis.call('ZSCORE', queue, id) ~= false)
end
"""

_FINISH = f"""{_HELD}
local queue, deadlines, waiter_count, done, dead, letters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local owner, ttl_ms, news = ARGV[1], ARGV[2], {{}}
for i = 3, #ARGV, 4 do
  local id, result, piece, letter = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if held(queue, id, owner) then
    redis.call('SET', '{redis_keys.RESULT}' .. id, result, 'PX', ttl_ms)
    redis.call('DEL', '{redis_keys.IN_PROGRESS}' .. id, '{redis_keys.RETRY}' .. id, '{redis_keys.JOB}' .. id)
    redis.call('ZREM', queue, id)
    redis.call('ZREM', '{abort_jobs_ss}', id)
    redis.call('HDEL', waiter_count, id)
    redis.call('HDEL', deadlines, id)
    if letter ~= '' then
      redis.call('ZADD', dead, cjson.decode(letter).at_ms, id)
      redis.call('HSET', letters, id, letter)
    elseif redis.call('ZREM', dead, id) == 1 then
      redis.call('HDEL', letters, id)
    end
    news[#news + 1] = piece
  end
end
local over = redis.call('ZCARD', dead) - {redis_keys.DEAD_LETTERS_MAX}
if over > 0 then
  local oldest = redis.call('ZPOPMIN', dead, over)
  for i = 1, #oldest, 2 do redis.call('HDEL', letters, oldest[i]) end
end
if #news > 0 then redis.call('PUBLISH', done, '[' .. table.concat(news, ',') .. ']') end
return #news
"""

_GIVE_BACK = f"""{_HELD}
local queue, wake, owner, due_ms, tries = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 4, #ARGV do
  local id = ARGV[i]
  if held(queue, id, owner) then
    redis.call('DEL', '{redis_keys.IN_PROGRESS}' .. id)
    redis.call('ZADD', queue, 'XX', due_ms, id)
    -- a job nobody tried has no counter: claims read its absence as "never brought a worker down"
    local retries = '{redis_keys.RETRY}' .. id
    if redis.call('INCRBY', retries, -tries) <= 0 then redis.call('DEL', retries) end
  end
end
redis.call('PUBLISH', wake, 0)
"""

_RENEW = f"""
local queue, owner, lease_ms, lost = KEYS[1], ARGV[1], ARGV[2], {{}}
for i = 3, #ARGV do
  local key = '{redis_keys.IN_PROGRESS}' .. ARGV[i]
  local holder = redis.call('GET', key)
  if holder == owner then
    redis.call('PEXPIRE', key, lease_ms)
  elseif not holder and redis.call('ZSCORE', queue, ARGV[i]) then
    redis.call('SET', key, owner, 'PX', lease_ms)
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job we hold; `job` is None when its body has expired."""

    job_id: str
    job: bytes | None
    job_try: int
    deadline_at: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a job came to: arq's result, the announcement, and the dead letter if it was given up."""

    job_id: str
    result: bytes
    news: bytes
    dead_letter: bytes = b""


class Leases:
    """The jobs one worker holds."""

    def __init__(self, redis: ArqRedis, names: redis_keys.RedisKeys, *, owner: str, result_ttl_s: float) -> None:
        self.owner = owner
        self.held: set[str] = set()
        self._names = names
        self._result_ttl_ms = round(result_ttl_s * 1000)
        self._claim = redis.register_script(_CLAIM)
        self._finish = redis.register_script(_FINISH)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._renew = redis.register_script(_RENEW)

    async def claim(self, limit: int) -> tuple[list[Claim], bool]:
        """Take up to `limit` due jobs; and whether there is more to take at once."""
        args: list[Any] = [round(time() * 1000), limit, round(LEASE_S * 1000), self.owner]
        more, rows = await self._claim([self._names.queue, self._names.deadlines], args)
        claims = [_claim_of(*row) for row in rows]
        self.held.update(claim.job_id for claim in claims)
        return claims, bool(more)

    async def finish(self, answers: Sequence[Answer]) -> int:
        """Hand in answers; how many were still ours to give."""
        args: list[Any] = [self.owner, self._result_ttl_ms]
        for answer in answers:
            args += [answer.job_id, answer.result, answer.news, answer.dead_letter]
        names = self._names
        kept = [names.queue, names.deadlines, names.waiter_count, names.done, names.dead, names.letters]
        ours = await self._finish(kept, args)
        self.forget(answer.job_id for answer in answers)
        return int(ours)

    async def release_jobs(self, job_ids: Sequence[str], *, delay_s: float = 0.0, was_tried: bool) -> None:
        """Leave jobs to whoever comes next."""
        due_ms = round((time() + delay_s) * 1000)
        args: list[Any] = [self.owner, due_ms, 0 if was_tried else 1, *job_ids]
        await self._give_back([self._names.queue, self._names.wake], args)
        self.forget(job_ids)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Renew these no more."""
        self.held.difference_update(job_ids)

    async def keep(self) -> None:
        """Renew what is held, for ever; runs beside the model, whose thread may take its time."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self._renew_held()
            except REDIS_ERRORS as error:
                log.warning("cannot renew leases: %s", type(error).__name__)

    async def _renew_held(self) -> None:
        if self.held:
            args: list[Any] = [self.owner, round(LEASE_S * 1000), *self.held]
            lost = await self._renew([self._names.queue], args)
            self.forget(job_id.decode() for job_id in lost)


def _claim_of(job_id: bytes, job: bytes | None, job_try: int, deadline: bytes | None) -> Claim:
    return Claim(job_id.decode(), job, job_try, None if deadline is None else float(deadline))


def announcement(job_id: str, returned: bytes, *, success: bool) -> bytes:
    """What those who wait are told: task, success, and what the job returned, as JSON."""
    return orjson.dumps([job_id, success, orjson.Fragment(returned)])
