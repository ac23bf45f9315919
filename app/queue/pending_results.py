"""Tasks whose answer nobody may be there to hear: what their askers wrote down, until someone has seen the answer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from arq.connections import ArqRedis

from app.errors import ServiceError
from app.queue import redis_keys
from app.queue.jobs import PredictionResult
from app.queue.redis import LUA_NOW_MS
from app.queue.serialization import decode_result, dumps, loads

log = logging.getLogger(__name__)

AGAIN_S = 2.0  # a task that is not answered yet is looked at again after so long, by whichever process comes first
PORTION = 500

# the bound is on what waits for an answer: 100,000 notes are some 60 MB
_NOTE = f"""{LUA_NOW_MS}
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now_ms / 1000, ARGV[2])
return 1
"""

# whoever takes a note has it for AGAIN_S; a reader that died meanwhile has kept it from nobody
_TAKE = f"""{LUA_NOW_MS}
local now_s = now_ms / 1000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_s, 'LIMIT', 0, ARGV[2])
for _, note in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', now_s + ARGV[1], note) end
return due
"""


@dataclass(frozen=True, slots=True)
class CompletedResult:
    """A note that needs no further look: its task's answer, or None where there will be none."""

    note: bytes
    task_id: str
    about: str  # what the asker wrote down
    result: PredictionResult | None


class PendingResults:
    """The notes of one queue, by the time of their next look. Its methods let errors of Redis through."""

    def __init__(self, redis: ArqRedis, names: redis_keys.RedisKeys) -> None:
        self._redis = redis
        self._name = names.pending_results
        self._note = redis.register_script(_NOTE)
        self._take = redis.register_script(_TAKE)

    async def note(self, task_id: str, about: bytes) -> None:
        """Have the answer of a task looked for; to be called once the task is in the queue or answered."""
        note = dumps({"task_id": task_id, "about": about.decode()})
        if not await self._note([self._name], [redis_keys.PENDING_RESULTS_MAX, note]):
            log.error("an answer will be in no ledger: %d are waited for already", redis_keys.PENDING_RESULTS_MAX)

    async def look(self) -> list[CompletedResult]:
        """Look for some answers. What is returned comes again, here or elsewhere, until it is dropped."""
        taken: list[bytes] = await self._take([self._name], [AGAIN_S, PORTION])
        if not taken:
            return []
        notes = [(note, loads(note)) for note in taken]
        async with self._redis.pipeline(transaction=True) as pipe:
            for _, fields in notes:
                pipe.get(redis_keys.RESULT + fields["task_id"])
                pipe.exists(redis_keys.JOB + fields["task_id"])
            replies = await pipe.execute()
        completed = []
        for (note, fields), raw, has_job in zip(notes, replies[::2], replies[1::2], strict=True):
            result = _decode(fields["task_id"], raw)
            if _is_over(result, has_job=has_job):
                prediction = result if isinstance(result, PredictionResult) else None
                completed.append(CompletedResult(note, fields["task_id"], fields["about"], prediction))
        return completed

    async def drop(self, results: Sequence[CompletedResult]) -> None:
        """Nobody need look at these again."""
        if results:
            await self._redis.zrem(self._name, *[each.note for each in results])


def _is_over(result: PredictionResult | ServiceError | None, *, has_job: bool) -> bool:
    # a failure is not the end while it is remembered: the task may be asked anew, and a dead letter be retried
    return not has_job if result is None else isinstance(result, PredictionResult)


def _decode(task_id: str, raw: bytes | None) -> PredictionResult | ServiceError | None:
    if raw is None:
        return None
    payload = loads(raw)
    return decode_result(task_id, payload["s"], payload["r"])
