"""The live path over every kind of Redis there is in real life."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from arq.connections import ArqRedis
from pydantic import SecretStr, ValidationError

from app.errors import QueueUnavailable
from app.queue.client import QueueClient
from app.queue.redis import connect
from app.queue.redis_keys import RedisKeys
from app.settings import Settings
from tests.support.build_redis import behind_tls, on_a_socket, under_a_sentinel
from tests.support.live import Marked, MemorySource, a_job, serving, settings_for
from tests.support.models import tiny_rows

QUEUE = "touchline:queue"  # the ACL of the tests, and of README, is about these keys


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    """An authority of our own; its certificate and one of a client lie in the test's folder."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = ca.issue_cert("client.test")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    return ca


def tls(redis_url: str, port: int, folder: Path, **changes: object) -> Settings:
    """Settings that go through a TLS door."""
    values: dict[str, object] = {
        "redis_password": urlsplit(redis_url).password,
        "redis_ca_file": folder / "ca.pem",
        "redis_client_cert_file": folder / "client.pem",
        "redis_client_key_file": folder / "client.key",
    }
    return settings_for(f"rediss://localhost:{port}/0", **{"model_aliases": ("champion",)} | values | changes)


async def version_that_answers(settings: Settings) -> str:
    """One question through port, Redis and a worker."""
    async with QueueClient.open(settings) as queue, serving(settings, MemorySource()):
        answer = await queue.predict(await a_job(queue, tiny_rows(1)[0]), timeout_s=8)
    return answer.model_version


async def test_unix_socket_and_a_user_with_few_rights(tmp_path: Path) -> None:
    with on_a_socket(tmp_path) as path:
        login = {"redis_username": "touchline", "redis_password": "secret"}
        settings = settings_for(f"unix://{path}", queue_name=QUEUE, model_aliases=("champion",), **login)
        assert await version_that_answers(settings) == "1"
        with pytest.raises(QueueUnavailable):
            await ping(settings.model_copy(update={"redis_password": SecretStr("wrong")}))


async def test_tls_with_a_client_certificate(redis_url: str, ca: trustme.CA, tmp_path: Path) -> None:
    async with behind_tls(urlsplit(redis_url).netloc.rpartition("@")[2], ca) as port:
        assert await version_that_answers(tls(redis_url, port, tmp_path)) == "1"


@pytest.mark.parametrize(
    ("host", "changes"),
    [
        ("elsewhere.test", {}),
        ("localhost", {"redis_ca_file": None}),
        ("localhost", {"redis_client_cert_file": None, "redis_client_key_file": None}),
    ],
    ids=["another name in the certificate", "an authority nobody knows", "no certificate of ours"],
)
async def test_tls_that_proves_nothing_is_refused(
    redis_url: str, ca: trustme.CA, tmp_path: Path, host: str, changes: dict[str, object]
) -> None:
    async with behind_tls(urlsplit(redis_url).netloc.rpartition("@")[2], ca, host) as port:
        with pytest.raises(QueueUnavailable):
            await ping(tls(redis_url, port, tmp_path, **changes))


@pytest.mark.timeout(600)
async def test_server_that_a_sentinel_names(tmp_path: Path) -> None:
    with under_a_sentinel(tmp_path) as guarded:
        sentinels = ("127.0.0.1:1", f"127.0.0.1:{guarded.sentinel_port}")  # the first is down
        settings = settings_for("redis://", redis_sentinels=sentinels, model_aliases=("champion",))
        assert await version_that_answers(settings) == "1"


def test_sentinels_are_asked_over_tls_and_with_their_own_password() -> None:
    """The wiring alone: the server of the tests speaks no TLS."""
    secrets = {"redis_password": "server", "redis_sentinel_password": "sentinel"}
    settings = settings_for("rediss://:ignored@/3", redis_sentinels=("a.test:1", "[::1]:2"), **secrets)
    pool = connect(settings).connection_pool
    asked = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"], each["password"]) for each in asked] == [
        ("a.test", 1, "sentinel"),
        ("::1", 2, "sentinel"),
    ]
    assert all(each["ssl_check_hostname"] for each in asked)
    assert (pool.connection_kwargs["password"], pool.connection_kwargs["db"]) == ("server", 3)
    assert pool.connection_class.__name__ == "SentinelManagedSSLConnection"


def test_sentinel_without_a_port_is_refused() -> None:
    with pytest.raises(ValidationError, match="redis_sentinels"):
        settings_for("redis://", redis_sentinels=("somewhere",))


async def test_every_key_has_an_end_or_a_bound(
    redis_url: str, redis: ArqRedis, live_settings: Settings, shelf_source: MemorySource
) -> None:
    """After answers, a failure and a cancellation; ours begin with the queue's name, arq's with arq."""
    names = RedisKeys(live_settings.queue_name)
    before = set(await redis.keys())
    async with QueueClient.open(live_settings) as queue:
        await queue.cancel(await queue.submit(await a_job(queue, tiny_rows(1)[0], match_id=1)))
        async with serving(live_settings, shelf_source):
            rows = tiny_rows(20)
            rows[3] = Marked.MARK
            asked = [queue.predict(await a_job(queue, row, match_id=n), timeout_s=8) for n, row in enumerate(rows)]
            await asyncio.gather(*asked, return_exceptions=True)
            found = set(await redis.keys()) - before
    bounded = {names.dead.encode(), names.dead_letters.encode(), names.workers.encode(), names.served_versions.encode()}
    assert bounded <= found
    for name in found - bounded:
        assert name.startswith((b"arq:", live_settings.queue_name.encode()))
        assert await redis.ttl(name) != -1, name


async def ping(settings: Settings) -> None:
    async with QueueClient.open(settings) as queue:
        await queue.check_redis()
