"""What the shadow model would have answered: a bounded stream that workers write and one group of readers drains."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from arq.connections import ArqRedis
from redis.exceptions import ResponseError

from app.queue.redis_keys import SHADOWS_MAX, RedisKeys
from app.queue.serialization import dumps, loads

log = logging.getLogger(__name__)

IDLE_MS = 60_000  # what a reader took and did not acknowledge for so long goes to another one
_FIELD = "shadow"


@dataclass(frozen=True, slots=True)
class ShadowPrediction:
    """One live prediction as another model computed it from the same feature row."""

    task_id: str  # of the live prediction: the same question has the same id, so one row of a table
    match_id: int
    snapshot_id: str
    request_id: str
    alias: str  # whose answer the caller got
    model_version: str
    proba: tuple[float, float, float]
    shadow_alias: str  # whose answer this is
    shadow_name: str
    shadow_version: str
    shadow_run_id: str
    shadow_proba: tuple[float, float, float]
    computed_at: datetime


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A shadow answer as a reader got it; `entry_id` is for the acknowledgement."""

    entry_id: str
    shadow: ShadowPrediction


class ShadowStream:
    """The stream of one queue. Its methods let errors of Redis through."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._stream = names.shadows

    async def publish(self, shadows: Sequence[ShadowPrediction]) -> None:
        """Append; the oldest go when nobody reads them."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for shadow in shadows:
                pipe.xadd(self._stream, {_FIELD: _encode(shadow)}, maxlen=SHADOWS_MAX, approximate=True)
            await pipe.execute()

    async def join(self, group: str) -> None:
        """Make the group of readers, which begins with the oldest entry; nothing when there is one."""
        try:
            await self._redis.xgroup_create(self._stream, group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def read(self, group: str, reader: str, *, count: int = 500) -> list[StreamEntry]:
        """The next entries, first those that a reader took and lost; [] when there are none.

        They come again until they are acknowledged: what is done with them must bear a repetition.
        """
        _, stale, _ = await self._redis.xautoclaim(self._stream, group, reader, IDLE_MS, count=count)
        found = stale or await self._new(group, reader, count)
        entries = []
        for entry_id, fields in found:
            try:
                entries.append(StreamEntry(entry_id.decode(), _decode(fields)))
            except (KeyError, TypeError, ValueError):
                # it would come again for ever, before all others
                log.warning("a shadow answer that cannot be read was dropped: %s", entry_id.decode())
                await self._redis.xack(self._stream, group, entry_id)
        return entries

    async def _new(self, group: str, reader: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        answer = await self._redis.xreadgroup(group, reader, {self._stream: ">"}, count=count)
        return [entry for _, entries in answer for entry in entries]

    async def acknowledge(self, group: str, entries: Sequence[StreamEntry]) -> None:
        """These are stored: drop them from the stream."""
        if entries:
            entry_ids = [entry.entry_id for entry in entries]
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(self._stream, group, *entry_ids)
                pipe.xdel(self._stream, *entry_ids)
                await pipe.execute()


def _encode(shadow: ShadowPrediction) -> bytes:
    return dumps(asdict(shadow))


def _decode(fields: dict[bytes, bytes]) -> ShadowPrediction:
    payload: dict[str, Any] = loads(fields[_FIELD.encode()])
    return ShadowPrediction(
        **payload
        | {
            "proba": tuple(payload["proba"]),
            "shadow_proba": tuple(payload["shadow_proba"]),
            "computed_at": datetime.fromisoformat(payload["computed_at"]),
        }
    )
