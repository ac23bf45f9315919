"""What waits in a queue."""

from time import time

from arq.connections import ArqRedis

from app.queue.jobs import QueueState
from app.queue.keys import IN_PROGRESS, Keys

HEAD = 1_000  # running jobs are the oldest, so they stand at the head of the queue


async def queue_state(redis: ArqRedis, names: Keys) -> QueueState:
    """Count a queue's jobs by what they wait for."""
    now_ms = round(time() * 1000)
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zcard(names.queue)
        pipe.zcount(names.queue, f"({now_ms}", "+inf")
        pipe.zrange(names.queue, 0, HEAD - 1, withscores=True)
        pipe.zcard(names.dead)
        total, scheduled, head, dead_letters = await pipe.execute()
    running = int(await redis.exists(*[IN_PROGRESS + job_id.decode() for job_id, _ in head])) if head else 0
    oldest_ms = head[0][1] if head else None
    return QueueState(
        name=names.queue,
        queued=max(total - scheduled - running, 0),
        scheduled=scheduled,
        in_progress=running,
        oldest_age_s=None if oldest_ms is None else max((now_ms - oldest_ms) / 1000, 0.0),
        dead_letters=dead_letters,
    )
