"""`python -m worker.healthcheck`: whether a worker of this host answers jobs; for the probes of a container."""

import asyncio
import socket
import sys

from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.workers import WorkerRegistry
from app.settings import Settings

TIMEOUT_S = 5.0


def main() -> str | None:
    """Nothing when ready, else the reason."""
    try:
        return asyncio.run(asyncio.wait_for(find_missing(Settings(), socket.gethostname()), TIMEOUT_S))
    except (*REDIS_ERRORS, TimeoutError) as error:
        return f"Redis does not answer: {type(error).__name__}"


async def find_missing(settings: Settings, host: str) -> str | None:
    """What the workers of a host still lack."""
    redis = connect(settings)
    try:
        beats = await WorkerRegistry(redis, RedisKeys(settings.queue_name)).heartbeats()
    finally:
        await disconnect(redis)
    here = [beat for beat in beats if beat.worker.host == host]
    if not here:
        return f"no worker of {host} has been heard of"
    return None if any(beat.ready for beat in here) else "the models are still being loaded"


if __name__ == "__main__":
    sys.exit(main())
