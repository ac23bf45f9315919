"""Limits of a connection, over real sockets: long, slow, malformed and too many."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app import appkeys
from app.api import transport
from app.main import create_app
from app.server import listening
from app.settings import Settings
from tests.support.serving import NO_REDIS

pytestmark = pytest.mark.timeout(600)
Ask = Callable[[bytes], Awaitable[bytes]]


@asynccontextmanager
async def serving(tmp_path: Path, **changes: object) -> AsyncIterator[int]:
    """The API as `python -m app` serves it; its port."""
    values = {"artifacts_uri": str(tmp_path / "none"), "touchline_home": tmp_path, "redis_url": NO_REDIS, "app_port": 0}
    app = create_app(Settings(**values | changes))  # type: ignore[arg-type]  # pydantic checks them
    async with listening(app) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def ask(tmp_path: Path) -> AsyncIterator[Ask]:
    """Send bytes, read until the server hangs up."""
    async with serving(tmp_path) as port:

        async def sent(request: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            answer = await reader.read()
            writer.close()
            return answer

        yield sent


def request(path: str = "/livez", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]).encode()


def problem_of(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert int(head.split()[1]) == problem["status"]
    return problem["status"], problem["code"]


async def test_sound_request_is_answered_and_names_no_version(ask: Ask) -> None:
    answer = await ask(request())
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Server: touchline\r\n" in answer
    assert b"aiohttp" not in answer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (request("/predict/cards/?q=" + "x" * 5000), (414, "url-too-long")),
        (request("/livez", "X-Long: " + "x" * 9000), (431, "headers-too-large")),
        (request("/livez", *(f"X-{n}: y" for n in range(100))), (431, "headers-too-large")),
        (b"hello there\r\n\r\n", (400, "bad-request")),
        (request("/livez", "X-API-Key: a\x00hunter2"), (400, "bad-request")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400, "bad-request")),  # TLS on a plain port
    ],
)
async def test_what_cannot_be_read_is_a_problem_that_quotes_nothing(
    ask: Ask, caplog: pytest.LogCaptureFixture, sent: bytes, expected: tuple[int, str]
) -> None:
    answer = await ask(sent)
    assert problem_of(answer) == expected
    assert b"hunter2" not in answer
    assert b"aiohttp" not in answer
    assert "hunter2" not in caplog.text


async def test_body_too_large_is_413_before_it_is_read(ask: Ask) -> None:
    head = (
        b"POST /predict/async/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    )
    answer = await ask(head + b"Content-Length: 100000\r\n\r\n" + b" " * 100_000)
    assert problem_of(answer) == (413, "body-too-large")


async def test_slow_body_is_408(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.route.BODY_TIMEOUT_S", 0.2)
    head = (
        b"POST /predict/async/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    )
    assert problem_of(await ask(head + b"Content-Length: 100\r\n\r\n{")) == (408, "request-timeout")


async def test_client_that_drips_its_head_is_cut_off_and_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slowloris: a hundred clients send a header now and then, and never end."""
    monkeypatch.setattr(transport, "HEAD_TIMEOUT_S", 1.0)
    async with serving(tmp_path, max_connections=150, max_connections_per_address=150) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        dripping = [asyncio.create_task(drip(reader, writer)) for reader, writer in slow]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request())
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        # every one of them ends, though each was never silent for long
        assert all(await asyncio.wait_for(asyncio.gather(*dripping), 15))
        writer.close()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send a head without an end; whether the server hung up."""
    writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(b"X-A: b\r\n")
        await asyncio.wait({ended}, timeout=0.3)
    writer.close()
    return ended.exception() is not None or ended.result() == b""


async def test_kept_alive_connection_outlives_the_clock_of_its_first_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "HEAD_TIMEOUT_S", 0.3)
    async with serving(tmp_path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.4)
        writer.close()


async def test_one_client_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, max_connections=4) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in held:
            writer.write(request("/livez").replace(b"Connection: close\r\n", b""))
        for reader, _ in held:
            await reader.readuntil(b"}")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        refusal = await reader.read()
        assert refusal.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in refusal
        for _, other in (*held, (reader, writer)):
            other.close()


async def test_stop_answers_what_is_being_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/healthcheck/"))
        await reader.readuntil(b"HTTP/1.1 200")
    assert b'"status"' in await reader.read()
    writer.close()


async def test_stop_lets_a_client_that_is_connected_ask_once_more_and_says_that_it_is_the_last(tmp_path: Path) -> None:
    kept = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(tmp_path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(kept)
        assert b"Connection: close" not in await reader.readuntil(b"}")
        silent, unused = await asyncio.open_connection("127.0.0.1", port)

        async def ask_while_it_stops() -> bytes:
            while await is_open(port):  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.01)
            writer.write(kept)
            return await reader.read()

        asking = asyncio.create_task(ask_while_it_stops())
    answer = await asking
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in answer
    assert await silent.read() == b""
    for each in (writer, unused):
        each.close()


async def test_stop_answers_who_has_knocked_and_is_not_yet_let_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as port:
        # connected by the kernel, while the loop had no turn to see them
        knocking = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(5)]
        for client in knocking:
            client.sendall(request())
    answers = [client.recv(4096) for client in knocking]
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
    for client in knocking:
        client.close()


async def is_open(port: int) -> bool:
    """Whether anybody listens; a knock that is not heard would be one more client."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_broken_keys_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("[{}]")
    with pytest.raises(ValueError, match="no list of API keys"):
        async with serving(tmp_path):
            pass
    assert appkeys.KEYRING is not None
