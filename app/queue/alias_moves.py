"""Have a worker move an alias of the registry, which the API itself never opens.

Alone because no prediction goes this way: it is a job that somebody waits for, of another kind.
"""

import time

from arq.connections import ArqRedis
from arq.jobs import Job as ArqJob

from app.errors import PromotionUnconfirmed
from app.queue.jobs import Job
from app.queue.redis import convert_redis_errors
from app.queue.redis_keys import RedisKeys

TIMEOUT_S = 60.0  # a worker loads the version first, to see that it can be served
_POLL_S = 0.1


class AliasMoves:
    """Asks the workers of one queue."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._names = names

    async def move(self, alias: str, version: str, *, expected: str | None, timeout_s: float = TIMEOUT_S) -> str | None:
        """Let an alias name a version; why not, where a worker refuses.

        Args:
            alias: the alias.
            version: what it is to name.
            expected: what it names now; a worker refuses when that is no longer so.
            timeout_s: how long to wait. A worker that begins later refuses.

        Raises:
            PromotionUnconfirmed: no worker has answered in time.
            QueueUnavailable: Redis cannot be reached.
        """
        payload = {"alias": alias, "version": version, "expected": expected, "deadline_at": time.time() + timeout_s}
        with convert_redis_errors():
            job: ArqJob | None = await self._redis.enqueue_job(
                Job.MOVE_ALIAS, payload, _queue_name=self._names.queue, _expires=timeout_s
            )
            if job is None:  # ids are random
                raise PromotionUnconfirmed("The queue did not take the job.")
            try:
                result = await job.result(timeout=timeout_s, poll_delay=_POLL_S)
            except TimeoutError as error:
                raise PromotionUnconfirmed(
                    f"No worker has said within {timeout_s:g} s that {alias} names version {version}."
                ) from error
        return None if result["refused"] is None else str(result["refused"])
