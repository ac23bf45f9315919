"""How often each caller may ask: one bucket a caller in Redis, from which every process takes handfuls of tokens."""

import asyncio
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field
from time import monotonic

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.errors import RateLimited
from app.settings import Settings

log = structlog.get_logger(__name__)

PER_MINUTE = 6000  # beyond loopback, unless set otherwise: a hundred a second is no person
WINDOW_S = 60
TOKEN_BATCHES = 100  # of a full bucket: what two processes may hold back from each other is a hundredth each
HELD_S = 1.0  # tokens in hand longer than that go back to nobody: others may have emptied the bucket
TIMEOUT_S = 0.1
AGAIN_S = 1.0  # while Redis is away it is asked once a second, not once a request
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
class _Hand:
    """Tokens that this process holds for one caller."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    tokens: int = 0
    left: int = 0
    until: float = 0.0

    @property
    def is_empty(self) -> bool:
        return self.tokens == 0 or monotonic() > self.until


class RateLimit:
    """A token bucket a caller, `per_minute` deep; a caller goes free while Redis is away, and it is said in the log.

    Taking tokens by handfuls makes most requests cost no round trip; a limit below HANDFULS is counted one by one.
    """

    def __init__(self, redis: Redis, *, prefix: str, per_minute: int) -> None:
        self._prefix = prefix
        self._limit = per_minute
        self._handful = max(per_minute // TOKEN_BATCHES, 1)
        self._take = redis.register_script(_TAKE)
        self._hands: OrderedDict[str, _Hand] = OrderedDict()
        self._away_until = 0.0
        self.unchecked = 0  # requests let through because Redis did not answer

    async def spend(self, caller: str) -> Quota | None:
        """Count one request; RateLimited when the caller has none left, None when nobody could count it."""
        hand = self._hand(caller)
        if not hand.is_empty:
            return self._spent(hand)
        async with hand.lock:
            # whoever had the lock before may have filled it
            if hand.is_empty:
                hand.tokens = 0
                await self._refill(caller, hand)
            return self._spent(hand)

    def _spent(self, hand: _Hand) -> Quota | None:
        if hand.tokens == 0:
            self.unchecked += 1
            return None
        hand.tokens -= 1
        left = hand.left + hand.tokens
        return Quota(self._limit, left, round((self._limit - left) * WINDOW_S / self._limit))

    def _hand(self, caller: str) -> _Hand:
        hand = self._hands.setdefault(caller, _Hand())
        self._hands.move_to_end(caller)
        while len(self._hands) > CALLERS:
            self._hands.popitem(last=False)
        return hand

    async def _refill(self, caller: str, hand: _Hand) -> None:
        if monotonic() < self._away_until:
            return
        answer = await self._ask(caller)
        if answer is None:
            return
        granted, hand.left, wait_ms = answer
        if granted == 0:
            detail = f"More than {self._limit} requests a minute."
            raise RateLimited(detail, retry_after_s=wait_ms / 1000, limit=self._limit, window_s=WINDOW_S)
        hand.tokens, hand.until = granted, monotonic() + HELD_S

    async def _ask(self, caller: str) -> tuple[int, int, int] | None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                args = [self._limit, self._limit / WINDOW_S, self._handful]
                granted, left, wait_ms = await self._take([self._prefix + caller], args)
        except (RedisError, OSError) as error:
            if self._away_until + AGAIN_S < monotonic():
                log.warning("nobody counts requests: Redis does not answer", error=type(error).__name__)
            self._away_until = monotonic() + AGAIN_S
            return None
        return int(granted), int(left), int(wait_ms)


def read_limit(settings: Settings) -> int:
    """Requests a minute that these settings grant a caller; 0 for any number."""
    if settings.rate_limit_per_minute is not None:
        return settings.rate_limit_per_minute
    return 0 if is_loopback(settings.app_host) else PER_MINUTE


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
