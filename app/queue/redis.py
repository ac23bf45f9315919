"""Connections to Redis, however it is reached: TCP, TLS, a unix socket, or whichever server Sentinel names."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.errors import QueueUnavailable
from app.queue.serialization import dumps, loads
from app.settings import Settings

# OSError: what a refused or reset socket raises while Redis restarts
TRANSIENT = (RedisConnectionError, RedisTimeoutError, OSError)
# everything a call may raise when Redis is away or ill
REDIS_ERRORS = (RedisError, OSError)

CONNECT_TIMEOUT_S = 1.0
REPLY_TIMEOUT_S = 5.0
# a replica; too few replicas; an append-only file that cannot be written, as on a full disk
_WRITES_REFUSED = frozenset({"READONLY", "NOREPLICAS", "MISCONF"})
RETRY_AFTER_S = 2.0  # when Redis may be back
_TIMEOUTS = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": REPLY_TIMEOUT_S}
_OF_THE_SERVER = ("host", "port", "path")  # what Sentinel tells instead

Options = dict[str, Any]


def connect(settings: Settings) -> ArqRedis:
    """A client that connects at its first call and outlives a restart of Redis; JSON instead of arq's pickles."""
    pool = _through_sentinel(settings) if settings.redis_sentinels else ConnectionPool(**_options(settings))
    return ArqRedis(pool, job_serializer=dumps, job_deserializer=loads, default_queue_name=settings.queue_name)


# First line of a script: the time of Redis, which all hosts share
LUA_NOW_MS = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""


class RedisClock:
    """The time of Redis as an offset of this host's own; due times and deadlines in Redis are on this clock."""

    def __init__(self) -> None:
        self.offset_s = 0.0  # how far Redis is ahead of this host

    def observe(self, redis_time: tuple[int, int], sent_at: float) -> None:
        """Note what Redis said to a TIME that was sent at `sent_at`, unix seconds of this host."""
        received_at = time()
        ahead_s = redis_time[0] + redis_time[1] / 1e6 - (sent_at + received_at) / 2
        # it is no more exact than half of the round trip
        if abs(ahead_s - self.offset_s) > (received_at - sent_at) / 2:
            self.offset_s = ahead_s

    def now(self) -> float:
        """Return the time of Redis, unix seconds."""
        return time() + self.offset_s


def queue_unavailable(error: Exception) -> QueueUnavailable:
    """Return the failure that callers get for an error of Redis; its own text may hold an address."""
    if isinstance(error, RedisError):
        code = str(error).partition(" ")[0]
        if isinstance(error, OutOfMemoryError) or code == "OOM":
            detail = "Redis is full and takes no writes (redis-full)."
            return QueueUnavailable(detail, retry_after_s=RETRY_AFTER_S, cause="redis-full")
        if isinstance(error, ReadOnlyError) or code in _WRITES_REFUSED:
            detail = "Redis is read-only and takes no writes (redis-read-only)."
            return QueueUnavailable(detail, retry_after_s=RETRY_AFTER_S, cause="redis-read-only")
    detail = f"Redis cannot be reached ({type(error).__name__})."
    return QueueUnavailable(detail, retry_after_s=RETRY_AFTER_S, cause="redis-unreachable")


@contextmanager
def convert_redis_errors() -> Iterator[None]:
    """Raise QueueUnavailable in the place of an error of Redis."""
    try:
        yield
    except REDIS_ERRORS as error:
        raise queue_unavailable(error) from error


async def disconnect(redis: ArqRedis) -> None:
    """Close every connection of a client."""
    await redis.aclose(close_connection_pool=True)
    if isinstance(redis.connection_pool, SentinelConnectionPool):
        for sentinel in redis.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _options(settings: Settings) -> Options:
    options: Options = dict(parse_url(settings.redis_url.get_secret_value())) | _TIMEOUTS
    # one more try on a fresh connection: the pooled ones are dead after a restart
    options["retry"] = Retry(ExponentialBackoff(cap=0.1, base=0.02), retries=2)
    options["retry_on_error"] = list(TRANSIENT)
    if settings.redis_username is not None:
        options["username"] = settings.redis_username
    if settings.redis_password is not None:
        options["password"] = settings.redis_password.get_secret_value()
    if options.get("connection_class") is SSLConnection:
        options |= _tls(settings)
    return options


def _tls(settings: Settings) -> Options:
    # redis-py checks the name in the certificate only when told to
    options: Options = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    files = {
        "ssl_ca_certs": settings.redis_ca_file,
        "ssl_certfile": settings.redis_client_cert_file,
        "ssl_keyfile": settings.redis_client_key_file,
    }
    return options | {name: str(path) for name, path in files.items() if path is not None}


def _through_sentinel(settings: Settings) -> SentinelConnectionPool:
    """Connections to the primary of the moment; after a fail-over the next one asks Sentinel again."""
    options = _options(settings)
    is_tls = options.pop("connection_class", None) is SSLConnection
    for part in _OF_THE_SERVER:
        options.pop(part, None)
    asking: Options = dict(_TIMEOUTS)
    if settings.redis_sentinel_password is not None:
        asking["password"] = settings.redis_sentinel_password.get_secret_value()
    if is_tls:
        asking |= {"ssl": True} | _tls(settings)
    addresses = [_address(each) for each in settings.redis_sentinels]
    # redis-py gives the parameters of these two no types
    sentinels = Sentinel(addresses, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    name = settings.redis_sentinel_name
    return SentinelConnectionPool(name, sentinels, ssl=is_tls, **options)  # type: ignore[no-untyped-call]


def _address(host_and_port: str) -> tuple[str, int]:
    host, _, port = host_and_port.rpartition(":")
    return host.strip("[]"), int(port)
