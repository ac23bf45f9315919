"""Have a worker read or move an alias of the registry, which the API itself never opens.

Alone because no prediction goes this way: it is a job that somebody waits for, of another kind.
"""

import time

from arq.connections import ArqRedis
from arq.jobs import Job as ArqJob

from app.errors import PromotionUnconfirmed
from app.queue.jobs import Job, Payload
from app.queue.redis import convert_redis_errors
from app.queue.redis_keys import RedisKeys

TIMEOUT_S = 60.0  # a worker loads the version first, to see that it can be served
_POLL_S = 0.1


class AliasMoves:
    """Asks the workers of one queue. Its methods raise QueueUnavailable, and PromotionUnconfirmed without an answer."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._names = names

    async def find_version(self, alias: str, *, timeout_s: float = TIMEOUT_S) -> tuple[str | None, str | None]:
        """Return the version that an alias names in the registry, and why that cannot be told."""
        result = await self._ask({"alias": alias, "version": None}, timeout_s)
        return result["version"], result["refused"]

    async def move(self, alias: str, version: str, *, expected: str | None, timeout_s: float = TIMEOUT_S) -> str | None:
        """Let an alias name a version; why not, where a worker refuses.

        Args:
            alias: the alias.
            version: what it is to name.
            expected: what it names now; a worker refuses when that is no longer so.
            timeout_s: how long to wait. A worker that begins later refuses.
        """
        result = await self._ask({"alias": alias, "version": version, "expected": expected}, timeout_s)
        return None if result["refused"] is None else str(result["refused"])

    async def _ask(self, wish: Payload, timeout_s: float) -> Payload:
        wish = wish | {"deadline_at": time.time() + timeout_s}
        with convert_redis_errors():
            job: ArqJob | None = await self._redis.enqueue_job(
                Job.MOVE_ALIAS, wish, _queue_name=self._names.queue, _expires=timeout_s
            )
            if job is None:  # ids are random
                raise PromotionUnconfirmed("The queue did not take the job.")
            try:
                result: Payload = await job.result(timeout=timeout_s, poll_delay=_POLL_S)
            except TimeoutError as error:
                raise PromotionUnconfirmed(f"No worker has answered within {timeout_s:g} s.") from error
        return result
