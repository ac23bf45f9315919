"""A worker process whose clock is wrong: `python -m tests.support.shifted_worker SECONDS [registry]`.

Settings come by environment; its models are in memory unless it is told to take the registry's.

The clock is shifted before anything of ours is imported, so every `time()` of the process is as far ahead as those of
a host whose clock is.
"""

import sys
import time

_real_time = time.time
SHIFT_S = float(sys.argv[1])
time.time = lambda: _real_time() + SHIFT_S  # type: ignore[assignment]  # the same signature

import asyncio  # noqa: E402  # after the clock

from app.settings import Settings  # noqa: E402  # after the clock
from tests.support.live import MemorySource  # noqa: E402  # after the clock
from worker.main import serve  # noqa: E402  # after the clock

if __name__ == "__main__":
    in_registry = sys.argv[2:] == ["registry"]
    asyncio.run(serve(Settings()) if in_registry else serve(Settings(), source=lambda _: MemorySource()))
