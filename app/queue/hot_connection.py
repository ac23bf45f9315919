"""One connection to Redis for the hot path: scripts go out, and replies and announcements come in with one read.

redis-py opens it (TCP, TLS, a unix socket, Sentinel, a password); then its transport is ours. A call of redis-py costs
a turn at the pool, a retry object, a timeout and a stream reader, and its subscriptions a second connection with a
wake-up of its own. What is seldom stays with redis-py, and so does a call that fails here: it connects anew.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

import hiredis
from arq.connections import ArqRedis
from redis._parsers.base import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.queue.redis import REDIS_ERRORS, REPLY_TIMEOUT_S, TRANSIENT

log = logging.getLogger(__name__)

RECONNECT_S = 0.1
WATCH_S = 1.0
QUIET_S = 5.0  # after so long without a word it is asked whether it is there

OnMessage = Callable[[bytes, bytes], None]
OnConnected = Callable[[], Awaitable[None]]


class HotConnection(asyncio.Protocol):
    """Calls scripts and follows channels. Without a connection its calls go through redis-py."""

    def __init__(self, redis: ArqRedis, channels: Sequence[str]) -> None:
        self.channels = channels
        self._redis = redis
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._stream_protocol: asyncio.BaseProtocol | None = None
        self._reader = _make_reader()
        self._calls: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._heard_at = 0.0
        self._is_lost = asyncio.Event()
        self._on_message: OnMessage = lambda _channel, _data: None

    @property
    def is_up(self) -> bool:
        """Whether calls go out on it, and announcements come in."""
        return self._transport is not None

    async def run(self, on_message: OnMessage, on_connected: OnConnected) -> None:
        """Stay connected, for ever.

        Args:
            on_message: called with the channel and the message of each announcement.
            on_connected: called whenever announcements may have been missed. An error of Redis connects anew.
        """
        self._on_message = on_message
        is_away = False
        while True:
            try:
                await self._connect()
                if is_away:
                    log.info("connection for %s is back", self.channels[0])
                is_away = False
                await on_connected()
                await self._watch()
            except (*REDIS_ERRORS, hiredis.HiredisError) as error:
                # one line an outage, not one a try
                if not is_away:
                    log.warning("connection for %s lost: %s; is Redis up?", self.channels[0], type(error).__name__)
                is_away = True
            finally:
                await self._disconnect()
            await asyncio.sleep(RECONNECT_S)

    async def call(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script; errors of Redis pass through."""
        if self._transport is not None:
            try:
                return await self._send(b"EVALSHA", script.sha, len(keys), *keys, *args)
            except NoScriptError:
                pass
            except (*TRANSIENT, ReadOnlyError):
                self._is_lost.set()  # another server may be the primary now
        return await script(keys, args)

    def _send(self, *command: str | bytes | int | float) -> "asyncio.Future[Any]":
        if self._transport is None:
            raise RedisConnectionError("not connected")
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.append((monotonic(), reply))
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # typed as a tuple of one
        return reply

    async def _connect(self) -> None:
        pool = self._redis.connection_pool
        self._connection = connection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py
        await connection.connect()
        transport = connection._writer.transport
        self._stream_protocol = transport.get_protocol()
        self._reader, self._heard_at = _make_reader(), monotonic()
        self._is_lost.clear()
        transport.set_protocol(self)
        self._transport = transport
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            await self._send(b"HELLO", b"3")
            # its replies are pushes, which nobody waits for
            transport.write(hiredis.pack_command((b"SUBSCRIBE", *self.channels)))  # type: ignore[arg-type]  # as above
            await self._send(b"PING")

    async def _watch(self) -> None:
        """Return when the connection is lost, or raise when it is silent."""
        while not self._is_lost.is_set():
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._is_lost.wait()
            except TimeoutError:
                now = monotonic()
                if self._calls and now - self._calls[0][0] > REPLY_TIMEOUT_S:
                    raise RedisTimeoutError("no reply") from None
                if not self._calls and now - self._heard_at > QUIET_S:
                    self._send(b"PING")
        raise RedisConnectionError("lost")

    async def _disconnect(self) -> None:
        self._fail_calls()
        connection, self._connection = self._connection, None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _fail_calls(self) -> None:
        calls, self._calls = self._calls, deque()
        for _, reply in calls:
            if not reply.done():
                reply.set_exception(RedisConnectionError("lost"))
                reply.exception()  # a PING has nobody who waits

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._heard_at = monotonic()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except InvalidResponse:
            self._is_lost.set()

    def _take(self, reply: Any) -> None:
        if type(reply) is hiredis.PushNotification:
            if reply[0] == b"message":
                try:
                    self._on_message(reply[1], reply[2])
                except Exception:
                    log.exception("an announcement on %s cannot be read", reply[1].decode(errors="replace"))
            return
        _, waiter = self._calls.popleft()
        if waiter.done():  # its caller has gone
            return
        if isinstance(reply, Exception):
            waiter.set_exception(reply)
        else:
            waiter.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._fail_calls()
        self._is_lost.set()
        if self._stream_protocol is not None:  # redis-py's stream waits for it
            self._stream_protocol.connection_lost(exc)


def _make_reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error)
