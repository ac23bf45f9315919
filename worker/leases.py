"""Claims jobs from arq's queue in batches and holds them; results go in and the next jobs come out in one call."""

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
from app.queue.hot_connection import HotConnection
from app.queue.jobs import Job, Payload, PredictionRequest, PredictionResult
from app.queue.redis import LUA_NOW_MS, REDIS_ERRORS
from app.queue.serialization import decode_request, dumps, loads, result_payload
from app.telemetry.tracing import parse_traceparent

log = logging.getLogger(__name__)

RENEW_EVERY_S = 1.0
PAGE = 128
SCAN_MAX = 4_096  # how far to look past jobs that others hold
IDLE_TTL_S = 5.0  # a waiting worker looks ten times as often; what a dead pool left behind goes

# Only the holder may answer; an expired lease that nobody took over still counts as held.
_HELD = f"""
local function held(queue, id, owner)
  local holder = redis.call('GET', '{redis_keys.IN_PROGRESS}' .. id)
  return holder == owner or (not holder and redis.call('ZSCORE', queue, id) ~= false)
end
"""

# Results go in and the next jobs come out in one call. With no result it is a claim, with a limit of 0 a submission.
_WORK = f"""{LUA_NOW_MS}{_HELD}
local queue, deadlines, waiter_count, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local dead, letters, idle = KEYS[5], KEYS[6], KEYS[7]
local owner, ttl_ms, limit, may_wait = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local lease_ms = {round(redis_keys.LEASE_S * 1000)}
local ids, news, claims, more, offset = {{}}, {{}}, {{}}, 0, 0
for i = 5, #ARGV, 4 do
  local id, result, piece, letter = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if held(queue, id, owner) then
    redis.call('PSETEX', '{redis_keys.RESULT}' .. id, ttl_ms, result)
    redis.call('DEL', '{redis_keys.IN_PROGRESS}' .. id, '{redis_keys.RETRY}' .. id, '{redis_keys.JOB}' .. id)
    if letter ~= '' then
      redis.call('ZADD', dead, now_ms, id)
      redis.call('HSET', letters, id, letter)
    elseif redis.call('ZREM', dead, id) == 1 then
      redis.call('HDEL', letters, id)
    end
    ids[#ids + 1], news[#news + 1] = id, piece
  end
end
if #ids > 0 then
  redis.call('ZREM', queue, unpack(ids))
  redis.call('ZREM', '{abort_jobs_ss}', unpack(ids))
  redis.call('HDEL', waiter_count, unpack(ids))
  redis.call('HDEL', deadlines, unpack(ids))
  local over = redis.call('ZCARD', dead) - {redis_keys.DEAD_LETTERS_MAX}
  if over > 0 then
    local oldest = redis.call('ZPOPMIN', dead, over)
    for i = 1, #oldest, 2 do redis.call('HDEL', letters, oldest[i]) end
  end
  redis.call('PUBLISH', done, '[' .. table.concat(news, ',') .. ']')
end
local function claim()
  local due = redis.call('ZRANGEBYSCORE', queue, '-inf', now_ms, 'WITHSCORES', 'LIMIT', offset, {PAGE})
  for i = 1, #due, 2 do
    local id = due[i]
    if #claims == limit then more = 1 return false end
    local tried = redis.call('GET', '{redis_keys.RETRY}' .. id)
    -- a job that was tried before may have brought its worker down: it runs alone, so that it takes no other with it
    if tried and #claims > 0 then
      if redis.call('EXISTS', '{redis_keys.IN_PROGRESS}' .. id) == 0 then more = 1 end
    elseif redis.call('SET', '{redis_keys.IN_PROGRESS}' .. id, owner, 'NX', 'PX', lease_ms) then
      local try = tonumber(tried or 0) + 1
      redis.call('SETEX', '{redis_keys.RETRY}' .. id, {redis_keys.TRY_TTL_S}, try)
      local body, deadline = redis.call('GET', '{redis_keys.JOB}' .. id), redis.call('HGET', deadlines, id)
      claims[#claims + 1] = {{id, body, try, deadline, due[i + 1]}}
      if tried then more = 1 return false end
    end
  end
  return #due == 2 * {PAGE}
end
if limit > 0 then
  local half = math.ceil(redis.call('ZCARD', queue) / 2)
  limit = math.min(limit, math.max({redis_keys.BATCH_MIN}, half))
  while offset < {SCAN_MAX} and claim() do offset = offset + {PAGE} end
end
if limit > 0 and #claims == 0 and may_wait then
  redis.call('SADD', idle, owner)
  redis.call('PEXPIRE', idle, {round(IDLE_TTL_S * 1000)})
else
  redis.call('SREM', idle, owner)
end
return {{#ids, more, claims, now_ms}}
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

    def __init__(  # noqa: PLR0913  # what Redis says of a job
        self,
        job_id: str,
        job: Payload | None,
        job_try: int,
        *,
        deadline_at: float | None,
        due_at: float,
        offset_s: float,
    ) -> None:
        self.job_id = job_id
        self.job_try = job_try
        try:
            self.name: str = (job or {})["f"]
            self.args: list[Any] = (job or {})["a"]
            self.kwargs: Payload = (job or {})["k"]
            self.enqueued_ms: int = (job or {})["et"]
            self.is_readable = True
        except (KeyError, TypeError):  # it expired, or was never a job
            self.name, self.args, self.kwargs, self.enqueued_ms = "unknown", [], {}, round(time() * 1000)
            self.is_readable = False
        self.request: PredictionRequest | ServiceError | None = None
        if self.name == Job.PREDICT_MATCH:
            try:
                # a later caller may wait longer than the first
                self.request = decode_request(
                    self.args[0] if self.args else {},
                    task_id=self.job_id,
                    enqueued_at=due_at,
                    deadline_at=deadline_at,
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
    """The jobs one worker holds: claimed, or handed over by whoever put them into the queue."""

    def __init__(self, redis: ArqRedis, names: redis_keys.RedisKeys, *, owner: str, result_ttl_s: float) -> None:
        self.connection = HotConnection(redis, [names.wake, names.hand_over + owner])
        self.owner = owner
        self.held: set[str] = set()
        self.channel = names.hand_over + owner  # where jobs are handed to this worker
        self.is_waiting = False  # whether Redis may hand jobs over
        self._redis = redis
        self._idle = names.idle
        self._work_keys = [names.queue, names.deadlines, names.waiter_count, names.done, names.dead]
        self._work_keys += [names.dead_letters, names.idle]
        self._renew_keys = [names.queue]
        self._release_keys = [names.queue, names.wake]
        self._result_ttl_ms = round(result_ttl_s * 1000)
        self._offset_s: float | None = None
        self._work = redis.register_script(_WORK)
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)

    async def claim(self, limit: int, *, may_wait: bool = False) -> tuple[list[ClaimedJob], bool]:
        """Take up to half of the due jobs, from BATCH_MIN to `limit`; and whether there is more to take at once.

        With `may_wait`, and when there is none, jobs are handed over from now on.
        """
        _, jobs, more = await self.submit_and_claim([], limit, may_wait=may_wait)
        return jobs, more

    async def submit_and_claim(
        self, finished: Sequence[FinishedJob], limit: int, *, may_wait: bool = False
    ) -> tuple[int, list[ClaimedJob], bool]:
        """Submit results and claim: how many of the finished were still ours, then what `claim` returns."""
        args: list[Any] = [self.owner, self._result_ttl_ms, limit, int(may_wait)]
        for job in finished:
            args += [job.job_id, job.result, job.news, job.dead_letter]
        ours, more, rows, now_ms = await self.connection.call(self._work, self._work_keys, args)
        self._offset_s = offset_s = now_ms / 1000 - time()
        self.held.difference_update(job.job_id for job in finished)
        jobs = [
            ClaimedJob(
                job_id.decode(),
                _parse_body(body),
                job_try,
                deadline_at=None if deadline is None else float(deadline),
                due_at=float(due_ms) / 1000,
                offset_s=offset_s,
            )
            for job_id, body, job_try, deadline, due_ms in rows
        ]
        self.held.update(job.job_id for job in jobs)
        self.is_waiting = may_wait and limit > 0 and not jobs
        return ours, jobs, bool(more)

    def accept(self, message: bytes) -> list[ClaimedJob]:
        """Return the jobs that were handed over."""
        now_ms, claims = loads(message)
        # how old a message is nobody knows, so this is too little; an offset of the last half second is about right
        offset_s = now_ms / 1000 - time()
        if self._offset_s is not None:
            offset_s = max(offset_s, self._offset_s)
        jobs = [
            ClaimedJob(job_id, job, 1, deadline_at=deadline, due_at=now_ms / 1000, offset_s=offset_s)
            for job_id, job, deadline in claims
        ]
        self.held.update(job.job_id for job in jobs)
        self.is_waiting = False
        return jobs

    async def stop_waiting(self) -> bool:
        """Have no more jobs handed over; return whether some are on their way still. Errors of Redis pass through."""
        was_waiting = self.is_waiting
        self.is_waiting = False
        return not await self._redis.srem(self._idle, self.owner) and was_waiting  # type: ignore[misc]  # redis-py

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
            args: list[Any] = [self.owner, round(redis_keys.LEASE_S * 1000), *self.held]
            lost = await self._renew(self._renew_keys, args)
            self.forget(job_id.decode() for job_id in lost)


def _parse_body(body: bytes | None) -> Payload | None:
    """Return a job as arq stores it; None when it expired, or is no JSON."""
    try:
        job: Payload | None = loads(body or b"null")
    except ValueError:
        return None
    return job
