"""Which workers are alive, and which model versions they hold."""

import asyncio
from dataclasses import replace
from time import monotonic

from arq.connections import ArqRedis

from app.errors import ModelNotFound, NoWorker
from app.queue.jobs import Heartbeat, ModelInfo, WorkerState
from app.queue.redis_keys import HEARTBEAT_EVERY_S, RedisKeys
from app.queue.serialization import decode_heartbeat


class WorkerRegistry:
    """The beats of living workers, at most a second old; news of a model swap makes it look again."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._names = names
        self._beats: list[Heartbeat] = []
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Look again at the next question."""
        self._read_at = None

    async def beats(self) -> list[Heartbeat]:
        """The beats of living workers; a Redis error passes through."""
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh():
                    # taken before the read, so that news arriving meanwhile is not lost
                    self._read_at = read_at = monotonic()
                    self._beats = await self._read(read_at)
        return self._beats

    def _is_fresh(self) -> bool:
        # an empty roster is never taken on trust: a worker may have come this moment
        return bool(self._beats) and self._read_at is not None and monotonic() - self._read_at < HEARTBEAT_EVERY_S

    async def _read(self, read_at: float) -> list[Heartbeat]:
        try:
            worker_ids = await self._redis.zrange(self._names.workers, 0, -1)
            names = [self._names.worker(worker_id.decode()) for worker_id in worker_ids]
            beats = await self._redis.mget(names) if names else []
        except BaseException:
            if self._read_at == read_at:
                self._read_at = None
            raise
        return [decode_heartbeat(raw) for raw in beats if raw is not None]

    async def versions(self, alias: str) -> frozenset[str]:
        """The versions that may answer for an alias, empty while the first models load."""
        beats = await self.beats()
        if not beats:
            raise NoWorker("No worker is alive.", retry_after_s=5)
        found = frozenset(beat.worker.models[alias] for beat in beats if alias in beat.worker.models)
        if not found and all(beat.ready for beat in beats):
            raise ModelNotFound(f"No worker holds a model under the alias {alias!r}.", alias=alias)
        return found

    async def workers(self) -> list[WorkerState]:
        """The living workers."""
        return [replace(beat.worker, refused=beat.refused) for beat in await self.beats()]

    async def models(self) -> list[ModelInfo]:
        """The models they hold: one per alias and version, newest first in each alias."""
        found = {(model.alias, model.version): model for beat in await self.beats() for model in beat.models}
        ordered = sorted(found.values(), key=lambda model: model.loaded_at, reverse=True)
        return sorted(ordered, key=lambda model: model.alias)

    async def jobs_per_s(self) -> float:
        """How fast the pool works at present."""
        return sum(beat.jobs_per_s for beat in await self.beats())
