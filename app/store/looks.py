"""Looks that are asked for: many askers share one, and no more than so many are made in a second."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedLooks(Generic[T]):
    """Whoever asks gets the result of a look that began after the question.

    So nobody is told of a state older than what they know, and a thousand askers cost two looks at most: the one that
    is being made, and the one after it that they all wait for.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], *, interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._next: asyncio.Task[T] | None = None
        self._running: asyncio.Task[T] | None = None
        self._not_before = 0.0

    async def ask(self) -> T:
        """The result of the next look; an asker who goes away does not end it for the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._running), name="artifact-look")
        return await asyncio.shield(self._next)

    async def close(self) -> None:
        """End what is being done and what waits."""
        for task in (self._next, self._running):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _run(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._not_before - loop.time())
        # from here on a question is about what comes after this look
        self._running, self._next = self._next, None
        self._not_before = loop.time() + self._interval_s
        return await self._look()
