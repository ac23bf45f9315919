"""Says every second that this worker lives, and what it holds."""

import asyncio
import logging
import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, time

import psutil
from arq.connections import ArqRedis

from app.queue.jobs import Heartbeat, WorkerState
from app.queue.redis import LUA_NOW_MS, REDIS_ERRORS
from app.queue.redis_keys import HEARTBEAT_EVERY_S, HEARTBEAT_TTL_S, RedisKeys
from app.queue.serialization import dumps
from worker.metrics import WorkerMetrics
from worker.model_manager import ModelManager

log = logging.getLogger(__name__)

FORGET_AFTER_S = 60.0
NEWS = b"[]"  # an announcement without answers: look at the models again

# by the time of Redis: of two workers, one whose clock is behind would be forgotten by the other
_WRITE = f"""{LUA_NOW_MS}
local beat, ttl_ms, worker, forget_s, news = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
redis.call('SET', KEYS[1], beat, 'PX', ttl_ms)
redis.call('ZADD', KEYS[2], now_ms / 1000, worker)
if news ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], 0, now_ms / 1000 - forget_s)
  redis.call('PUBLISH', KEYS[3], news)
end
"""


@dataclass(slots=True)
class WorkerCounters:
    """What a worker has done so far."""

    done: int = 0
    failed: int = 0
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)


class HeartbeatPublisher:
    """Publishes the heartbeat of one worker process."""

    def __init__(self, redis: ArqRedis, names: RedisKeys, *, models: ModelManager, counters: WorkerCounters) -> None:
        self.worker_id = f"{socket.gethostname()}:{os.getpid()}"
        self._redis = redis
        self._write = redis.register_script(_WRITE)
        self._names = names
        self._models = models
        self._counters = counters
        self._started_at = datetime.now(UTC)
        self._process = psutil.Process()
        self._due = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._rate = _Rate()

    def trigger_now(self) -> None:
        """Publish now; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._due.set)

    async def run(self) -> None:
        """Publish every second, for ever."""
        while True:
            is_news = self._due.is_set()
            self._due.clear()
            try:
                await self._publish(is_news=is_news)
            except REDIS_ERRORS as error:
                log.warning("heartbeat.publish_failed: %s", type(error).__name__)
            await _set_within(self._due, HEARTBEAT_EVERY_S)

    async def unregister(self) -> None:
        """Remove this worker from the list of living ones."""
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(self._names.worker(self.worker_id))
                pipe.zrem(self._names.workers, self.worker_id)
                pipe.publish(self._names.done, NEWS)
                await pipe.execute()
        except REDIS_ERRORS:
            log.warning("heartbeat.unregister_failed: it expires within %.0f s", HEARTBEAT_TTL_S)

    async def _publish(self, *, is_news: bool) -> None:
        heartbeat = self._make_heartbeat()
        keys = [self._names.worker(self.worker_id), self._names.workers, self._names.done]
        news = NEWS if is_news else b""
        ttl_ms = round(HEARTBEAT_TTL_S * 1000)
        await self._write(keys, [dumps(heartbeat), ttl_ms, self.worker_id, FORGET_AFTER_S, news])
        if is_news and heartbeat.worker.models:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._names.served_versions, mapping=dict(heartbeat.worker.models))
                await pipe.execute()

    def _make_heartbeat(self) -> Heartbeat:
        infos = [model.info for model in self._models.models]
        worker = WorkerState(
            worker_id=self.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            # the clock that deadlines are checked by; the API compares it with that of Redis
            last_beat_at=datetime.fromtimestamp(time(), UTC),
            jobs_done=self._counters.done,
            jobs_failed=self._counters.failed,
            memory_mb=round(self._process.memory_info().rss / 1e6, 1),
            models={info.alias: info.version for info in infos},
        )
        self._update_metrics(worker)
        rate = self._rate.update(self._counters.done + self._counters.failed)
        return Heartbeat(worker, infos, self._models.is_ready, rate, dict(self._models.refused))

    def _update_metrics(self, worker: WorkerState) -> None:
        metrics, models = self._counters.metrics, self._models
        metrics.set_models(worker.models, models.refused, is_ready=models.is_ready, is_away=models.is_away)
        metrics.set_missing(models.missing)
        metrics.set_memory(worker.memory_mb * 1e6)
        metrics.jobs.follow(worker.jobs_done, "done")
        metrics.jobs.follow(worker.jobs_failed, "failed")


class _Rate:
    """Jobs per second since the last beats, smoothed."""

    def __init__(self) -> None:
        self._count = 0
        self._at = monotonic()
        self._per_s = 0.0

    def update(self, count: int) -> float:
        now = monotonic()
        elapsed_s = max(now - self._at, 1e-3)
        self._per_s = 0.7 * self._per_s + 0.3 * (count - self._count) / elapsed_s
        self._count, self._at = count, now
        return round(self._per_s, 2)


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
