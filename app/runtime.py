"""How a process runs: background tasks that end with their owner, pauses between tries, the garbage collector of a
server, and what only Linux does for a process, with what is done elsewhere instead.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
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


class Backoff:
    """Pauses between tries: each twice as long as the one before, up to a bound.

    Args:
        first_s: the first pause, in seconds.
        longest_s: the longest pause, in seconds.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._pause_s = 0.0

    def next_pause(self) -> float:
        """Return the seconds to wait before the next try."""
        self._pause_s = min(max(2 * self._pause_s, self._first_s), self._longest_s)
        return self._pause_s

    def reset(self) -> None:
        """Begin again with the first pause."""
        self._pause_s = 0.0


ORPHANED = signal.SIGUSR1  # sent to a worker when its supervisor or fork server is gone
_PR_SET_PDEATHSIG = 1


def set_parent_death_signal(signum: int, *, parent: int) -> None:
    """Have the kernel send this process a signal when its parent ends; end at once if it has ended already.

    Only Linux can do this; elsewhere nothing happens. Safe between fork and exec.

    Args:
        signum: the signal.
        parent: process id that the parent had before this process was forked.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


# looked up once: between fork and exec little is safe
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def reserve_space(descriptor: int, size_bytes: int) -> None:
    """Make a file that long, and have a full disk say so now where the system can; elsewhere it is only made long.

    Args:
        descriptor: of the file, open for writing.
        size_bytes: how long the file is to be.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
    else:
        os.ftruncate(descriptor, size_bytes)


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
