"""How a process runs: background tasks that end with their owner, and the garbage collector of a server."""

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

CANCEL_AGAIN_S = 0.2


@asynccontextmanager
async def run_in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the body of the context, and cancel it at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def cancel_and_wait(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and see it end."""
    # once is not enough: asyncio.wait_for of Python 3.11, which redis-py sends through, can lose a cancellation
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)


YOUNG_OBJECTS = 10_000  # the default of 700 is reached within a handful of requests


@contextmanager
def freeze_gc() -> Iterator[None]:
    """Leave alone what has been imported and built so far: looking through it again took up to 100 ms at a time."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        # or it would still be there when extension modules count what they have left
        gc.unfreeze()
