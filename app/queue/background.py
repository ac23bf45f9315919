"""Work that goes on in the background for as long as something else lasts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

CANCEL_AGAIN_S = 0.2


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the body of the context, and cancel it at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await cancelled(task)


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and see it end."""
    # once is not enough: asyncio.wait_for of Python 3.11, which redis-py sends through, can lose a cancellation
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
