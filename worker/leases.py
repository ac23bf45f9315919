"""Claims jobs from arq's queue in batches, holds them, and submits their results: each in one call to Redis."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

import orjson
from arq.connections import ArqRedis
from arq.constants import abort_jobs_ss
from arq.jobs import serialize_result

from app.errors import PredictionFailed, ServiceError
from app.queue import redis_keys
from app.queue.jobs import Job, Payload, PredictionRequest, PredictionResult
from app.queue.redis import LUA_NOW_MS, REDIS_ERRORS
from app.queue.serialization import decode_request, dumps, loads, result_payload
from app.telemetry.tracing import parse_traceparent

log = logging.getLogger(__name__)

LEASE_S = 3.0  # a killed worker's jobs are free again after this
RENEW_EVERY_S = 1.0
PAGE = 128
SCAN_MAX = 4_096  # how far to look past jobs that others hold
TRY_TTL_S = 88_400  # arq's own

_CLAIM = f"""{LUA_NOW_MS}
local queue, deadlines = KEYS[1], KEYS[2]
local limit, lease_ms, owner = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local offset, claims, more = 0, {{}}, 0
while offset < {SCAN_MAX} do
  local ids = redis.call('ZRANGEBYSCORE', queue, '-inf', now_ms, 'WITHSCORES', 'LIMIT', offset, {PAGE})
  for i = 1, #ids, 2 do
    local id = ids[i]
    if #claims == limit then return {{1, claims, now_ms}} end
    local tried = redis.call('GET', '{redis_keys.RETRY}' .. id)
    -- a job that was tried before may have brought its worker down: it runs alone, so that it takes no other with it
    if tried and #claims > 0 then
      more = 1
    elseif redis.call('SET', '{redis_keys.IN_PROGRESS}' .. id, owner, 'NX', 'PX', lease_ms) then
      local try = tonumber(tried or 0) + 1
      redis.call('SET', '{redis_keys.RETRY}' .. id, try, 'EX', {TRY_TTL_S})
      local body, deadline = redis.call('GET', '{redis_keys.JOB}' .. id), redis.call('HGET', deadlines, id)
      claims[#claims + 1] = {{id, body, try, deadline, ids[i + 1]}}
      if tried then return {{1, claims, now_ms}} end
    end
  end
  if #ids < 2 * {PAGE} then break end
  offset = offset + {PAGE}
end
return {{more, claims, now_ms}}
"""

# Only the holder may answer; an expired lease that nobody took over still counts as held.
_HELD = f"""
local function held(queue, id, owner)
  local holder = redis.call('GET', '{redis_keys.IN_PROGRESS}' .. id)
  return holder == owner or (not holder and redis.call('ZSCORE', queue, id) ~= false)
end
"""

_FINISH = f"""{LUA_NOW_MS}{_HELD}
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
      redis.call('ZADD', dead, now_ms, id)
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

_RELEASE = f"""{LUA_NOW_MS}{_HELD}
local queue, wake, owner, due_ms, tries = KEYS[1], KEYS[2], ARGV[1], now_ms + ARGV[2], tonumber(ARGV[3])
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


Outcome = PredictionResult | Exception  # a ServiceError is an expected failure, any other a bug: it is tried again


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """What came of a job: arq's result, the announcement, and the dead letter if it was given up."""

    job_id: str
    result: bytes
    news: bytes
    dead_letter: bytes = b""


class ClaimedJob:
    """A job that this worker holds; `request` is a PredictionFailed when it cannot be read.

    `offset_s` is how far the clock of Redis, on which a job is due and has its deadline, is ahead of ours.
    """

    __slots__ = ("args", "enqueued_ms", "is_readable", "job_id", "job_try", "kwargs", "name", "request")

    def __init__(  # noqa: PLR0913  # a row of the script that claims
        self, job_id: bytes, body: bytes | None, job_try: int, deadline: bytes | None, due_ms: bytes, *, offset_s: float
    ) -> None:
        self.job_id = job_id.decode()
        self.job_try = job_try
        try:
            job: Payload = loads(body or b"")
            self.name: str = job["f"]
            self.args: list[Any] = job["a"]
            self.kwargs: Payload = job["k"]
            self.enqueued_ms: int = job["et"]
            self.is_readable = True
        except (ValueError, KeyError, TypeError):  # it expired, or was never a job
            self.name, self.args, self.kwargs, self.enqueued_ms = "unknown", [], {}, round(time() * 1000)
            self.is_readable = False
        self.request: PredictionRequest | ServiceError | None = None
        if self.name == Job.PREDICT_MATCH:
            try:
                # a later caller may wait longer than the first
                self.request = decode_request(
                    self.args[0] if self.args else {},
                    task_id=self.job_id,
                    enqueued_at=float(due_ms) / 1000,
                    deadline_at=None if deadline is None else float(deadline),
                    offset_s=offset_s,
                )
            except PredictionFailed as error:
                self.request = error

    def log_fields(self) -> dict[str, str]:
        """Return the request and the trace that the job belongs to."""
        if not isinstance(self.request, PredictionRequest):
            return {}
        trace = parse_traceparent(self.request.traceparent)
        fields = {"request_id": self.request.request_id, "trace_id": trace.trace_id if trace else ""}
        return {name: value for name, value in fields.items() if value}

    def finish(
        self,
        outcome: PredictionResult | ServiceError,
        started_ms: int,
        *,
        queue: str,
        success: bool = True,
        dead_letter: bytes = b"",
    ) -> FinishedJob:
        """Return the job with what came of it, as arq writes it and as the waiting requests read it."""
        body = dumps(result_payload(outcome))
        result = serialize_result(
            self.name,
            # without the feature row, which would be nine tenths of every result
            tuple(
                {name: value for name, value in arg.items() if name != "features"} if isinstance(arg, dict) else arg
                for arg in self.args
            ),
            self.kwargs,
            self.job_try,
            self.enqueued_ms,
            success,
            orjson.Fragment(body),
            started_ms,
            round(time() * 1000),
            self.job_id,
            queue,
            self.job_id,
            serializer=dumps,
        )
        assert result is not None  # noqa: S101  # dumps of JSON's own types does not fail
        news = dumps([self.job_id, success, orjson.Fragment(body)])
        return FinishedJob(self.job_id, result, news, dead_letter)

    def give_up(self, reason: str, *, queue: str) -> FinishedJob:
        """Return the job as a failure, with a dead letter for whoever wants to retry it."""
        now_ms = round(time() * 1000)
        letter = {"job_id": self.job_id, "reason": reason, "at_ms": now_ms, "f": self.name, "a": self.args}
        return self.finish(PredictionFailed(reason), now_ms, queue=queue, success=False, dead_letter=dumps(letter))


class Leases:
    """The jobs one worker holds."""

    def __init__(self, redis: ArqRedis, names: redis_keys.RedisKeys, *, owner: str, result_ttl_s: float) -> None:
        self.owner = owner
        self.held: set[str] = set()
        self._claim_keys = [names.queue, names.deadlines]
        self._finish_keys = [*self._claim_keys, names.waiter_count, names.done, names.dead, names.dead_letters]
        self._release_keys = [names.queue, names.wake]
        self._result_ttl_ms = round(result_ttl_s * 1000)
        self._claim = redis.register_script(_CLAIM)
        self._finish = redis.register_script(_FINISH)
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)

    async def claim(self, limit: int) -> tuple[list[ClaimedJob], bool]:
        """Take up to `limit` due jobs; and whether there is more to take at once."""
        more, rows, now_ms = await self._claim(self._claim_keys, [limit, round(LEASE_S * 1000), self.owner])
        offset_s = now_ms / 1000 - time()
        jobs = [ClaimedJob(*row, offset_s=offset_s) for row in rows]
        self.held.update(job.job_id for job in jobs)
        return jobs, bool(more)

    async def finish(self, jobs: Sequence[FinishedJob]) -> int:
        """Submit results; return how many of the jobs were still ours."""
        args: list[Any] = [self.owner, self._result_ttl_ms]
        for job in jobs:
            args += [job.job_id, job.result, job.news, job.dead_letter]
        ours = await self._finish(self._finish_keys, args)
        self.held.difference_update(job.job_id for job in jobs)
        return int(ours)

    async def release(self, job_ids: Sequence[str], *, delay_s: float = 0.0, was_tried: bool) -> None:
        """Leave jobs to whoever comes next."""
        args: list[Any] = [self.owner, round(delay_s * 1000), 0 if was_tried else 1, *job_ids]
        await self._release(self._release_keys, args)
        self.forget(job_ids)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Renew these no more."""
        self.held.difference_update(job_ids)

    async def renew(self) -> None:
        """Renew what is held, for ever; the model in its thread may take its time."""
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                await self._renew_held()
            except REDIS_ERRORS as error:
                log.warning("cannot renew leases: %s", type(error).__name__)

    async def _renew_held(self) -> None:
        if self.held:
            args: list[Any] = [self.owner, round(LEASE_S * 1000), *self.held]
            lost = await self._renew(self._claim_keys[:1], args)
            self.forget(job_id.decode() for job_id in lost)
