"""The connection of the live path, over a real Redis that goes away, forgets, hangs and changes its role."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from arq.connections import ArqRedis
from redis.commands.core import AsyncScript
from redis.exceptions import ReadOnlyError, ResponseError

from app.queue import hot_connection
from app.queue.hot_connection import HotConnection
from app.queue.redis import REDIS_ERRORS, connect, disconnect
from app.runtime import run_in_background
from infra.local.children import Child
from infra.local.ports import free_port
from infra.local.redis import Redis
from tests.support.build_redis import a_redis
from tests.support.live import settings_for
from tests.support.serving import until

ECHO = "return ARGV[1]"
CHANNEL = "touchline:test:done"


class Follower:
    """A connection that stays connected, and what it was told."""

    def __init__(self, redis: ArqRedis) -> None:
        self.redis = redis
        self.connection = HotConnection(redis, [CHANNEL])
        self.echo: AsyncScript = redis.register_script(ECHO)
        self.messages: list[bytes] = []
        self.n_connected = 0

    async def run(self) -> None:
        await self.connection.run(self.receive, self.catch_up)

    def receive(self, channel: bytes, message: bytes) -> None:
        assert channel == CHANNEL.encode()
        if message == b"unreadable":
            raise ValueError("not a message")
        self.messages.append(message)

    async def catch_up(self) -> None:
        self.n_connected += 1

    async def ask(self, word: str) -> str:
        reply: bytes = await self.connection.call(self.echo, [], [word])
        return reply.decode()

    async def is_up(self) -> bool:
        return self.connection.is_up and self.n_connected > 0

    async def n_of_ours(self) -> list[dict[str, str]]:
        """What Redis says of the connection."""
        clients = await self.redis.client_list()
        return [client for client in clients if client["sub"] == "1"]


Follow = Callable[[str], AbstractAsyncContextManager[Follower]]


@pytest.fixture
def follow() -> Follow:
    @asynccontextmanager
    async def start(url: str) -> AsyncIterator[Follower]:
        redis = connect(settings_for(url))
        follower = Follower(redis)
        async with run_in_background(follower.run()):
            await until(follower.is_up, timeout_s=60)
            yield follower
        await disconnect(redis)

    return start


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Redis, list[Child]]]:
    """A Redis of the test's own, which it may kill."""
    redis = Redis(tmp_path / "redis")
    children = [await asyncio.to_thread(start, redis)]
    yield redis, children
    await asyncio.to_thread(children[-1].stop)


def start(redis: Redis) -> Child:
    child = Child(redis.command())
    redis.wait_ready(child)
    return child


async def test_replies_and_announcements_share_a_connection(follow: Follow, server: tuple[Redis, list[Child]]) -> None:
    async with follow(server[0].url) as follower:
        assert await follower.ask("first") == "first"  # Redis did not know the script yet
        before = (await follower.redis.info("clients"))["connected_clients"]
        assert await asyncio.gather(*[follower.ask(str(n)) for n in range(100)]) == [str(n) for n in range(100)]
        await follower.redis.publish(CHANNEL, b"news")
        await until(lambda: has(follower, b"news"))
        (ours,) = await follower.n_of_ours()
        assert (ours["resp"], ours["cmd"]) == ("3", "evalsha")
        assert (await follower.redis.info("clients"))["connected_clients"] == before


async def test_reply_goes_to_whoever_asked_though_others_gave_up(follow: Follow, redis_url: str) -> None:
    """Replies come in order, so one that nobody waits for must not be the next one's."""
    chance = random.Random(5)
    async with follow(redis_url) as follower:
        await follower.ask("load")
        for _ in range(20):
            asking = [asyncio.create_task(follower.ask(str(n))) for n in range(50)]
            await asyncio.sleep(chance.choice([0, 0.001]))
            for task in chance.sample(asking, 20):
                task.cancel()
            replies = await asyncio.gather(*asking, return_exceptions=True)
            told = {n: reply for n, reply in enumerate(replies) if not isinstance(reply, asyncio.CancelledError)}
            assert told == {n: str(n) for n in told}
            assert len(told) >= 30


async def test_errors_of_a_script_pass_through(follow: Follow, redis_url: str) -> None:
    async with follow(redis_url) as follower:
        broken = follower.redis.register_script("return redis.call('NONE')")
        for _ in range(2):
            with pytest.raises(ResponseError, match=r"(?i)unknown"):
                await follower.connection.call(broken, [], [])
        assert await follower.ask("still there") == "still there"
        assert follower.n_connected == 1


async def test_forgotten_script_is_told_again(follow: Follow, redis_url: str) -> None:
    async with follow(redis_url) as follower:
        await follower.ask("known")
        await follower.redis.script_flush()
        assert await follower.ask("again") == "again"
        assert follower.n_connected == 1


async def test_announcement_that_cannot_be_read_ends_nothing(
    follow: Follow, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with follow(redis_url) as follower:
        for message in (b"unreadable", b"readable"):
            await follower.redis.publish(CHANNEL, message)
        await until(lambda: has(follower, b"readable"))
        assert follower.n_connected == 1
        assert f"an announcement on {CHANNEL} cannot be read" in caplog.text


async def test_killed_connection_comes_back_and_says_so(follow: Follow, server: tuple[Redis, list[Child]]) -> None:
    async with follow(server[0].url) as follower:
        for n in range(1, 4):
            (ours,) = await follower.n_of_ours()
            asking = [asyncio.create_task(follower.ask(str(number))) for number in range(50)]
            await follower.redis.client_kill_filter(_id=ours["id"])
            assert await asyncio.gather(*asking) == [str(number) for number in range(50)]
            await until(lambda n=n: was_connected(follower, n + 1))  # type: ignore[misc]
            await follower.redis.publish(CHANNEL, str(n))
            await until(lambda n=n: has(follower, str(n).encode()))  # type: ignore[misc]


async def test_restarted_redis_is_found_again(
    follow: Follow, server: tuple[Redis, list[Child]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "app.queue.hot_connection")
    redis, children = server
    async with follow(redis.url) as follower:
        await follower.ask("known")
        os.kill(children[-1].pid, signal.SIGKILL)
        await asyncio.to_thread(children[-1].wait, 60)
        await until(lambda: is_down(follower))
        with pytest.raises(REDIS_ERRORS):
            await follower.ask("nobody")
        children.append(await asyncio.to_thread(start, redis))
        await until(lambda: was_connected(follower, 2), timeout_s=60)
        assert await follower.ask("new life") == "new life"
    lines = [record.message for record in caplog.records if CHANNEL in record.message]
    assert len([line for line in lines if "is Redis up?" in line]) == 1
    assert [line for line in lines if "is back" in line]


async def test_redis_that_hangs_is_left(
    follow: Follow, server: tuple[Redis, list[Child]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that nobody reads any more, as after a firewall forgot it, is not waited for."""
    monkeypatch.setattr(hot_connection, "REPLY_TIMEOUT_S", 0.3)
    monkeypatch.setattr(hot_connection, "WATCH_S", 0.1)
    redis, children = server
    async with follow(redis.url) as follower:
        os.kill(children[-1].pid, signal.SIGSTOP)
        try:
            asking = asyncio.create_task(follower.ask("late"))
            await until(lambda: is_down(follower), timeout_s=60)
        finally:
            os.kill(children[-1].pid, signal.SIGCONT)
        assert await asking == "late"
        await until(follower.is_up, timeout_s=60)


async def test_quiet_connection_is_asked_whether_it_is_there(
    follow: Follow, server: tuple[Redis, list[Child]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot_connection, "QUIET_S", 0.1)
    monkeypatch.setattr(hot_connection, "WATCH_S", 0.05)
    async with follow(server[0].url) as follower:
        before = (await follower.redis.info("commandstats"))["cmdstat_ping"]["calls"]
        await until(lambda: has_pinged(follower, before + 3), timeout_s=60)
        assert follower.n_connected == 1


async def test_primary_that_became_a_replica_is_left(follow: Follow, tmp_path: Path) -> None:
    """Another server may be the primary now, behind the same name."""
    port = free_port()
    with a_redis(tmp_path / "redis", f"port {port}"):
        async with follow(f"redis://127.0.0.1:{port}") as follower:
            write = follower.redis.register_script("return redis.call('SET', KEYS[1], ARGV[1])")
            assert await follower.connection.call(write, ["touchline:key"], ["1"]) == b"OK"
            await follower.redis.replicaof("127.0.0.1", free_port())
            with pytest.raises(ReadOnlyError):
                await follower.connection.call(write, ["touchline:key"], ["2"])
            await follower.redis.replicaof("NO", "ONE")
            await until(lambda: was_connected(follower, 2), timeout_s=60)
            assert await follower.connection.call(write, ["touchline:key"], ["3"]) == b"OK"


async def test_calls_without_a_connection_take_the_long_way(redis_url: str) -> None:
    redis = connect(settings_for(redis_url))
    follower = Follower(redis)
    assert not follower.connection.is_up
    assert await follower.ask("word") == "word"
    await disconnect(redis)


async def has(follower: Follower, message: bytes) -> bool:
    return message in follower.messages


async def was_connected(follower: Follower, times: int) -> bool:
    return follower.n_connected >= times and follower.connection.is_up


async def is_down(follower: Follower) -> bool:
    return not follower.connection.is_up


async def has_pinged(follower: Follower, times: int) -> bool:
    return int((await follower.redis.info("commandstats"))["cmdstat_ping"]["calls"]) >= times
