"""Connections to Redis."""

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.queue.wire import dumps, loads
from app.settings import Settings

# OSError: what a refused or reset socket raises while Redis restarts
TRANSIENT = (RedisConnectionError, RedisTimeoutError, OSError)
# everything a call may raise when Redis is away or ill
REDIS_ERRORS = (RedisError, OSError)

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 5.0


def connect(settings: Settings) -> ArqRedis:
    """A client that connects at its first call and outlives a restart of Redis; JSON instead of arq's pickles."""
    pool = ConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=REPLY_TIMEOUT_S,
        # one more try on a fresh connection: the pooled ones are dead after a restart
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.02), retries=2),
        retry_on_error=list(TRANSIENT),
    )
    return ArqRedis(pool, job_serializer=dumps, job_deserializer=loads, default_queue_name=settings.queue_name)


async def disconnect(redis: ArqRedis) -> None:
    """Close every connection of a client."""
    await redis.aclose(close_connection_pool=True)
