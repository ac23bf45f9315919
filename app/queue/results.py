"""Wakes those who wait for an answer: one subscription for all, and a look at Redis now and then."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from arq.connections import ArqRedis
from redis.asyncio.client import PubSub

from app.queue import redis_keys
from app.queue.failures import outcome_of
from app.queue.jobs import Payload
from app.queue.redis import REDIS_ERRORS
from app.queue.serialization import loads

log = logging.getLogger(__name__)

RESUBSCRIBE_S = 0.1
QUIET_S = 5.0  # how long one read of the subscription lasts; no more than a bound
NOT_FOUND: Payload = {}  # in the place of an outcome: Redis knows nothing of the task
Answer = asyncio.Future[Payload]


class ResultListener:
    """Who waits for which task."""

    def __init__(
        self,
        redis: ArqRedis,
        names: redis_keys.RedisKeys,
        *,
        on_news: Callable[[], None],
        on_subscribed: Callable[[], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._names = names
        self._on_news = on_news
        self._on_subscribed = on_subscribed
        self._answers: dict[str, set[Answer]] = {}
        self._since: dict[str, float] = {}
        self._wanted = asyncio.Event()

    @contextmanager
    def expect(self, task_id: str) -> Iterator[Answer]:
        """A future of the task's outcome, or of LOST; to be entered before the job is put into the queue."""
        answer: Answer = asyncio.get_running_loop().create_future()
        self._answers.setdefault(task_id, set()).add(answer)
        self._since.setdefault(task_id, monotonic())
        self._wanted.set()
        try:
            yield answer
        finally:
            self._leave(task_id, answer)

    def _leave(self, task_id: str, answer: Answer) -> None:
        waiting = self._answers.get(task_id, set())
        waiting.discard(answer)
        if not waiting:
            self._answers.pop(task_id, None)
            self._since.pop(task_id, None)
        if not self._answers:
            self._wanted.clear()

    def _deliver(self, task_id: str, outcome: Payload) -> None:
        for answer in self._answers.get(task_id, ()):
            if not answer.done():
                answer.set_result(outcome)

    async def listen(self) -> None:
        """Follow the announcements for ever; a dropped subscription is taken up again."""
        is_away = False
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(self._names.done)
                    if is_away:
                        log.info("subscription to %s is back", self._names.done)
                    is_away = False
                    await self._on_subscribed()
                    self._on_news()
                    await self._follow(subscription)
            except REDIS_ERRORS as error:
                # one line an outage, not one a try
                if not is_away:
                    log.warning("subscription to %s lost: %s; is Redis up?", self._names.done, type(error).__name__)
                is_away = True
            await asyncio.sleep(RESUBSCRIBE_S)

    async def _follow(self, subscription: PubSub) -> None:
        while True:
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=QUIET_S)
            if message is not None:
                self._announce(loads(message["data"]))

    def _announce(self, announced: list[tuple[str, bool, object]]) -> None:
        if not announced:  # an empty list: a worker has other models now
            self._on_news()
        for task_id, success, returned in announced:
            if task_id in self._answers:
                self._deliver(task_id, outcome_of(success, returned))

    async def look(self) -> None:
        """Look for answers whose announcement was lost, or was never made by a stock arq worker; for ever."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(redis_keys.SAFETY_POLL_S)
            overdue = monotonic() - redis_keys.SAFETY_POLL_S
            task_ids = [task_id for task_id, since in self._since.items() if since <= overdue]
            try:
                await self._fetch(task_ids)
            except REDIS_ERRORS as error:
                log.warning("cannot look for answers: %s", type(error).__name__)

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
                self._deliver(task_id, outcome_of(result["s"], result["r"]))
            elif not is_there:
                self._deliver(task_id, NOT_FOUND)
