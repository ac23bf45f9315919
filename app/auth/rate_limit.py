"""How often each caller may ask: one bucket a caller in Redis, from which every process takes batches of tokens."""

import asyncio
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import RateLimited
from app.runtime import cancel_and_wait

log = structlog.get_logger(__name__)

WINDOW_S = 60
TOKEN_BATCHES = 100  # of a full bucket: what two processes may hold back from each other is a hundredth each
FRESH_S = 1.0  # a batch older than that is exchanged for a new one: the caller may have emptied the bucket elsewhere
ANSWER_TIMEOUT_S = 2.0  # Redis that answers later is away; below that it is slow, and still counts
AGAIN_S = 1.0  # while Redis is away, one probe asks this often; requests do not
CALLERS = 10_000  # remembered at a time; the least lately seen goes first

# KEYS: bucket; ARGV: capacity, refill a second, wanted. Gives granted, left, milliseconds until one more is there.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local capacity, per_s, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local since_s = math.max(now - (tonumber(held[2]) or now), 0)
local tokens = math.min(capacity, (tonumber(held[1]) or capacity) + since_s * per_s)
local granted = math.min(wanted, math.floor(tokens))
tokens = tokens - granted
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(capacity / per_s * 1000))
return {granted, math.floor(tokens), math.ceil(math.max(1 - tokens, 0) / per_s * 1000)}
"""


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left to a caller: `left` requests now, the whole of `limit` after `reset_s`."""

    limit: int
    left: int
    reset_s: int


@dataclass(slots=True)
class _TokenBatch:
    """Tokens that this process has taken from a caller's bucket."""

    tokens: int = 0
    left: int = 0  # in the bucket, when it was last asked
    stale_at: float = 0.0
    refused_until: float = 0.0
    refill: "asyncio.Task[None] | None" = None


class RateLimit:
    """A token bucket a caller, `per_minute` deep; while Redis is away no request is counted, and the log says so.

    Tokens are taken in batches, so most requests cost no round trip; a limit below TOKEN_BATCHES is counted one by one.
    A batch that grows old is exchanged in the background, so a caller who goes on asking never waits for a slow Redis.
    """

    def __init__(self, redis: Redis, *, prefix: str, per_minute: int) -> None:
        self._redis = redis
        self._prefix = prefix
        self._limit = per_minute
        self._batch_size = max(per_minute // TOKEN_BATCHES, 1)
        self._take = redis.register_script(_TAKE)
        self._batches: OrderedDict[str, _TokenBatch] = OrderedDict()
        self._probe: asyncio.Task[None] | None = None  # runs while Redis is away
        self.unchecked = 0  # requests let through because Redis did not answer

    async def acquire(self, caller: str) -> Quota | None:
        """Take one token; raise RateLimited when there is none, return None when Redis cannot count it."""
        batch = self._batch(caller)
        if batch.tokens and monotonic() > batch.stale_at and self._probe is None:
            self._start_refill(caller, batch)
        while not batch.tokens:
            self._raise_if_refused(batch)
            if self._probe is not None:
                self.unchecked += 1
                return None
            await asyncio.wait({self._start_refill(caller, batch)})
        batch.tokens -= 1
        left = batch.left + batch.tokens
        return Quota(self._limit, left, round((self._limit - left) * WINDOW_S / self._limit))

    async def close(self) -> None:
        """Stop asking Redis."""
        tasks = [self._probe, *(batch.refill for batch in self._batches.values())]
        for task in tasks:
            if task is not None:
                await cancel_and_wait(task)

    def _batch(self, caller: str) -> _TokenBatch:
        batch = self._batches.get(caller)
        if batch is None:
            batch = self._batches[caller] = _TokenBatch()
        self._batches.move_to_end(caller)
        while len(self._batches) > CALLERS:
            self._batches.popitem(last=False)
        return batch

    def _raise_if_refused(self, batch: _TokenBatch) -> None:
        wait_s = batch.refused_until - monotonic()
        if wait_s > 0:
            detail = f"More than {self._limit} requests a minute."
            raise RateLimited(detail, retry_after_s=wait_s, limit=self._limit, window_s=WINDOW_S)

    def _start_refill(self, caller: str, batch: _TokenBatch) -> "asyncio.Task[None]":
        if batch.refill is None or batch.refill.done():
            batch.refill = asyncio.create_task(self._refill(caller, batch), name="rate limit refill")
        return batch.refill

    async def _refill(self, caller: str, batch: _TokenBatch) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                args = [self._limit, self._limit / WINDOW_S, self._batch_size]
                granted, left, wait_ms = await self._take([self._prefix + caller], args)
        except (RedisError, OSError) as error:
            if self._probe is None:
                log.warning("rate_limit.suspended", error=type(error).__name__, timeout_s=ANSWER_TIMEOUT_S)
                self._probe = asyncio.create_task(self._wait_for_redis(), name="rate limit probe")
            return
        batch.left, batch.stale_at = int(left), monotonic() + FRESH_S
        if int(granted):
            batch.tokens = int(granted)
        else:
            batch.refused_until = monotonic() + int(wait_ms) / 1000

    async def _wait_for_redis(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_S)
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._redis.ping()
            except (RedisError, OSError):
                continue
            log.info("rate_limit.resumed", unchecked=self.unchecked)
            self._probe = None
            return


@lru_cache(4096)
def client_network(address: str) -> str:
    """Return whom an address counts as: itself, or the /64 of an IPv6 address, of which one client has all."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
