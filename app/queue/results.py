"""Delivers results to the requests that wait: announced on one channel for all, or seen by a look now and then."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from arq.connections import ArqRedis

from app.errors import ServiceError
from app.queue import redis_keys
from app.queue.jobs import PredictionResult
from app.queue.redis import REDIS_ERRORS
from app.queue.serialization import decode_result, loads

log = logging.getLogger(__name__)

NOT_FOUND = None  # in the place of an outcome: Redis knows nothing of the task
Outcome = PredictionResult | ServiceError | None


class ResultListener:
    """The requests that wait, by task."""

    def __init__(self, redis: ArqRedis, *, on_news: Callable[[], None]) -> None:
        self._redis = redis
        self._on_news = on_news
        self._waiters: dict[str, set[asyncio.Future[Outcome]]] = {}
        self._since: dict[str, float] = {}
        self._is_wanted = asyncio.Event()

    @contextmanager
    def expect(self, task_id: str) -> Iterator["asyncio.Future[Outcome]"]:
        """Yield a future of the task's outcome, or of NOT_FOUND; enter before the job is put into the queue."""
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(task_id, set())
        waiters.add(waiter)
        self._since.setdefault(task_id, monotonic())
        self._is_wanted.set()
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(task_id, None)
                self._since.pop(task_id, None)
            if not self._waiters:
                self._is_wanted.clear()

    def _deliver(self, task_id: str, outcome: Outcome) -> None:
        for waiter in self._waiters.get(task_id, ()):
            if not waiter.done():
                waiter.set_result(outcome)

    def receive(self, _channel: bytes, message: bytes) -> None:
        """Take an announcement."""
        self._announce(loads(message))

    def _announce(self, announced: list[tuple[str, bool, object]]) -> None:
        if not announced:  # an empty list: a worker has other models now
            self._on_news()
        for task_id, success, returned in announced:
            if task_id in self._waiters:
                self._deliver(task_id, decode_result(task_id, success, returned))

    async def poll(self) -> None:
        """Look for results whose announcement was lost, or that a stock arq worker never announced; for ever."""
        while True:
            await self._is_wanted.wait()
            await asyncio.sleep(redis_keys.SAFETY_POLL_S)
            overdue = monotonic() - redis_keys.SAFETY_POLL_S
            task_ids = [task_id for task_id, since in self._since.items() if since <= overdue]
            try:
                await self._fetch(task_ids)
            except REDIS_ERRORS as error:
                log.warning("cannot look for results: %s", type(error).__name__)

    async def _fetch(self, task_ids: list[str]) -> None:
        if not task_ids:
            return
        async with self._redis.pipeline(transaction=True) as pipe:
            for task_id in task_ids:
                pipe.get(redis_keys.RESULT + task_id)
                pipe.exists(redis_keys.JOB + task_id)
            replies = await pipe.execute()
        for task_id, raw, is_there in zip(task_ids, replies[::2], replies[1::2], strict=True):
            if raw is not None:
                result = loads(raw)
                self._deliver(task_id, decode_result(task_id, result["s"], result["r"]))
            elif not is_there:
                self._deliver(task_id, NOT_FOUND)
