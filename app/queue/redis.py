"""Connections to Redis, however it is reached: TCP, TLS, a unix socket, or whichever server Sentinel names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
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
RETRY_AFTER_S = 2.0  # when Redis may be back
_TIMEOUTS = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": REPLY_TIMEOUT_S}
_OF_THE_SERVER = ("host", "port", "path")  # what Sentinel tells instead

Options = dict[str, Any]


def connect(settings: Settings) -> ArqRedis:
    """A client that connects at its first call and outlives a restart of Redis; JSON instead of arq's pickles."""
    pool = _through_sentinel(settings) if settings.redis_sentinels else ConnectionPool(**_options(settings))
    return ArqRedis(pool, job_serializer=dumps, job_deserializer=loads, default_queue_name=settings.queue_name)


def queue_unavailable(error: Exception) -> QueueUnavailable:
    """Return the failure that callers get when Redis does not answer; an error's own text may hold an address."""
    return QueueUnavailable(f"Redis cannot be reached ({type(error).__name__}).", retry_after_s=RETRY_AFTER_S)


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
