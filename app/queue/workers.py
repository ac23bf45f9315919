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
    """The heartbeats of living workers, at most a second old; news of a model swap makes it look again."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._names = names
        self._heartbeats: list[Heartbeat] = []
        self._read_at: float | None = None
        self._skews: dict[str, float] = {}
        self._lock = asyncio.Lock()

    def invalidate(self) -> None:
        """Look again at the next call."""
        self._read_at = None

    async def heartbeats(self) -> list[Heartbeat]:
        """Return the heartbeats of living workers; a Redis error passes through."""
        now = monotonic()
        # an empty list is never taken on trust: a worker may have come this moment
        if self._heartbeats and self._read_at is not None and now - self._read_at < HEARTBEAT_EVERY_S:
            return self._heartbeats
        async with self._lock:
            # another caller may have read them meanwhile
            if not self._heartbeats or self._read_at is None or self._read_at < now:
                # set before the read, so that news arriving meanwhile is not lost
                self._read_at = read_at = monotonic()
                self._heartbeats = await self._read(read_at)
        return self._heartbeats

    async def _read(self, read_at: float) -> list[Heartbeat]:
        try:
            scores = await self._redis.zrange(self._names.workers, 0, -1, withscores=True)
            written_at = {worker_id.decode(): score for worker_id, score in scores}
            names = [self._names.worker(worker_id) for worker_id in written_at]
            heartbeats = await self._redis.mget(names) if names else []
        except BaseException:
            if self._read_at == read_at:
                self._read_at = None
            raise
        living = [decode_heartbeat(raw) for raw in heartbeats if raw is not None]
        self._skews = {
            beat.worker.worker_id: beat.worker.last_beat_at.timestamp() - written_at[beat.worker.worker_id]
            for beat in living
            if beat.worker.worker_id in written_at
        }
        return living

    async def clock_skews(self) -> dict[str, float]:
        """Return how many seconds the clock of each living worker is ahead of the clock of Redis."""
        await self.heartbeats()
        return self._skews

    async def versions(self, alias: str) -> frozenset[str]:
        """Return the versions that may answer for an alias, empty while the first models load."""
        heartbeats = await self.heartbeats()
        if not heartbeats:
            raise NoWorker("No worker is alive.", retry_after_s=5)
        versions = frozenset(beat.worker.models[alias] for beat in heartbeats if alias in beat.worker.models)
        if not versions and all(beat.ready for beat in heartbeats):
            raise ModelNotFound(f"No worker holds a model under the alias {alias!r}.", alias=alias)
        return versions

    async def workers(self) -> list[WorkerState]:
        """Return the living workers."""
        return [replace(beat.worker, refused=beat.refused) for beat in await self.heartbeats()]

    async def models(self) -> list[ModelInfo]:
        """Return the models they hold: one per alias and version, newest first in each alias."""
        models = {(model.alias, model.version): model for beat in await self.heartbeats() for model in beat.models}
        ordered = sorted(models.values(), key=lambda model: model.loaded_at, reverse=True)
        return sorted(ordered, key=lambda model: model.alias)

    async def jobs_per_s(self) -> float:
        """Return how many jobs a second the pool answers at present."""
        return sum(beat.jobs_per_s for beat in await self.heartbeats())
