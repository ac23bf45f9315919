"""What the other API processes on the same port have counted.

Alone because it stands between two processes: the API at one end of a pipe, its supervisor at the other.
"""

import asyncio
from multiprocessing.connection import Connection

import orjson

from app.telemetry.metrics import State, read_state

_ANSWER_S = 5.0  # the supervisor answers within half a second, unless it is stopped


class Siblings:
    """The end of a pipe at which one API process tells its counts and hears those of the others."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.state: State = {}

    async def exchange(self, own: State) -> None:
        """Tell what this process has counted and take over the sum of the others."""
        raw = await asyncio.to_thread(self._exchange, orjson.dumps(own))
        if raw is not None:
            self.state = read_state(raw)

    def _exchange(self, own: bytes) -> bytes | None:
        try:
            self._pipe.send_bytes(own)
            return self._pipe.recv_bytes() if self._pipe.poll(_ANSWER_S) else None
        except (OSError, EOFError):
            return None  # the supervisor is gone, and this process is about to follow it
