"""A hostile client: no work before authentication, and no mistake of a client is a 500.

Raw sockets against the API as `python -m app` serves it, with Redis and a worker behind it.
"""

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import brotli
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app.api.routes import ROUTES
from tests.support.build_artifacts import write_artifacts
from tests.support.build_keys import a_key, as_setting
from tests.support.live import settings_for
from tests.support.models import FEATURES
from tests.support.threaded import served

pytestmark = pytest.mark.timeout(600)

TEXT, KEY = a_key()
ANSWER_S = 5.0  # an answer takes milliseconds; inflating one bomb took three seconds of the event loop
BOMB_BYTES = 2**30
BOMBS_AT_ONCE = 8
EVENTS = "/events"
TARGETS = sorted({(route.method, route.path.replace("{match_id}", "1").replace("{task_id}", "t")) for route in ROUTES})
GUARDED = {
    (route.method, route.path.replace("{match_id}", "1").replace("{task_id}", "t"))
    for route in ROUTES
    if route.scope is not None
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[tuple[str, int]]:
    """Host and port of the API, with keys on."""
    home: Path = tmp_path_factory.mktemp("hostile")
    write_artifacts(home / "artifacts", feature_names=FEATURES)
    values = {"artifacts_uri": str(home / "artifacts"), "touchline_home": home, "model_aliases": ("champion",)}
    with served(settings_for(redis_url, api_keys=as_setting(KEY), **values), with_worker=True) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def exchange(address: tuple[str, int], sent: bytes) -> tuple[int, bytes]:
    """Status and head of the answer, with what of the body came with it; 0 when the server hung up without one."""
    with socket.create_connection(address, timeout=30) as client:
        with suppress(OSError):  # it has hung up already; what it said before can still be read
            client.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer:
            try:
                chunk = client.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            answer += chunk
        return (int(answer.split(None, 2)[1]) if answer.startswith(b"HTTP/") else 0), answer


def head(method: str, target: str, *headers: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin-1")


def coded(coding: str, body: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    match coding:
        case "gzip":
            return gzip.compress(body)
        case "deflate":
            return deflate.compress(body) + deflate.flush()
        case "br":
            return brotli.compress(body, quality=1)
    return body


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A gigabyte of zeros in about a kilobyte."""
    compressor = brotli.Compressor(quality=1)
    zeros = bytes(2**24)
    return b"".join(compressor.process(zeros) for _ in range(BOMB_BYTES // len(zeros))) + compressor.finish()


KINDS = ["slow", "huge", "endless", "waits"]


def attack(kind: str) -> tuple[list[str], bytes]:
    """Headers and the beginning of a body that never ends, or that nobody should read."""
    match kind:
        case "slow":
            return ["Content-Length: 100"], b"{"
        case "huge":
            return ["Content-Length: 10000000000"], b" " * 1_000_000
        case "endless":
            return ["Transfer-Encoding: chunked"], b"10000\r\n" + b" " * 65536 + b"\r\n"
    return ["Content-Length: 100", "Expect: 100-continue"], b""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("method", "target"), TARGETS)
def test_without_a_key_no_body_is_waited_for(address: tuple[str, int], method: str, target: str, kind: str) -> None:
    headers, body = attack(kind)
    began = time.monotonic()
    status, answer = exchange(address, head(method, target, "Content-Type: application/json", *headers) + body)
    took_s = time.monotonic() - began
    if (method, target) in GUARDED:
        assert (status, b"key-missing" in answer or b"100 Continue" not in answer) == (401, True)
    else:
        assert status in {200, 503}
    assert b"Connection: close" in answer  # what follows on this connection is a body, not a request
    assert took_s < ANSWER_S


@pytest.mark.parametrize(("method", "target"), TARGETS)
def test_without_a_key_no_body_is_inflated(address: tuple[str, int], bomb: bytes, method: str, target: str) -> None:
    sent = head(method, target, "Content-Encoding: br", f"Content-Length: {len(bomb)}") + bomb
    with ThreadPoolExecutor(BOMBS_AT_ONCE) as clients:
        bombs = [clients.submit(exchange, address, sent) for _ in range(BOMBS_AT_ONCE)]
        began = time.monotonic()
        assert exchange(address, head("GET", "/livez"))[0] == 200
        assert time.monotonic() - began < ANSWER_S
        expected = {401} if (method, target) in GUARDED else {200, 503}
        assert {each.result()[0] for each in bombs} <= expected


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "compress", "gzip, gzip", "x"])
@pytest.mark.parametrize("is_sound", [True, False])
@pytest.mark.parametrize("path", [route.path for route in ROUTES if "body" in route.takes])
def test_coded_body_is_415_and_says_what_is_taken(
    address: tuple[str, int], path: str, coding: str, is_sound: bool
) -> None:
    body = coded(coding, b'{"match_id": 1}') if is_sound else b"no such coding"
    headers = ["Content-Type: application/json", f"Content-Encoding: {coding}", f"Content-Length: {len(body)}"]
    status, answer = exchange(address, head("POST", path, f"X-API-Key: {TEXT}", *headers) + body)
    assert (status, b'"unsupported-media-type"' in answer) == (415, True)
    assert b"Accept-Encoding: identity" in answer


def test_identity_is_no_coding(address: tuple[str, int]) -> None:
    body = b'{"match_id": 1}'
    headers = ["Content-Type: application/json", "Content-Encoding: Identity", f"Content-Length: {len(body)}"]
    status, _ = exchange(address, head("POST", "/predict/async/", f"X-API-Key: {TEXT}", *headers) + body)
    assert status in {202, 404}


def test_client_with_a_key_is_told_to_go_on_and_one_without_is_not(address: tuple[str, int]) -> None:
    headers = ["Content-Type: application/json", "Content-Length: 15", "Expect: 100-continue"]
    _, refused = exchange(address, head("POST", "/predict/async/", *headers))
    assert refused.startswith(b"HTTP/1.1 401")
    status, _ = exchange(address, head("POST", "/predict/async/", f"X-API-Key: {TEXT}", *headers))
    assert status == 100


BODY_TARGETS = [route.path for route in ROUTES if "body" in route.takes]
HEADERS = [
    "Accept", "Accept-Encoding", "Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Cookie",
    "Connection", "Expect", "Host", "If-Match", "If-Modified-Since", "If-None-Match", "Last-Event-ID", "Origin",
    "Range", "Sec-Fetch-Site", "TE", "Transfer-Encoding", "Upgrade", "X-API-Key", "X-Request-ID", "traceparent",
    "Access-Control-Request-Method",
]  # fmt: skip
WORDS = st.sampled_from(
    [
        "*", "*/*", "text/csv;q=", "text/csv;q=nan", "application/json;q=1e999", "gzip", "br;q=0", "zstd;q=inf", "W/",
        '"', '"a", "', "bytes=0-1", "chunked", "gzip, chunked", "100-continue", "-1", "0", "1e3", "9" * 20,
        "application/json", "application/json; charset=utf-16", "application/json; charset=nonsense", "null", "[::1",
        "localhost:99999", "a" * 300, "websocket", "close", "h2c", "00-" + "f" * 32 + "-" + "f" * 16 + "-01", "ÿþ",
        "\x7f",
    ]
)  # fmt: skip
VALUES = WORDS | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
NAMES = ["limit=", "as_of=", "cursor=", "sort=", "fields=", "q=", "region=", "status=", "stage=", "need="]
SIGNS = st.sampled_from(list("?&&=%/.;:[]{}\"'<>\\^`|~*+"))
ESCAPED = st.characters(max_codepoint=0xD7FF).map(quote) | st.binary(min_size=1, max_size=2).map(quote)
TAILS = st.lists(
    SIGNS | ESCAPED | st.sampled_from([*NAMES, "nan", "inf", "-1", "%2F", "%2e%2e", "?", "1e400"]), max_size=12
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63), 2**64, 10**40])
JSONS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["match_id", "stage", "sql", "format", "explain", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES = st.binary(max_size=60) | JSONS.map(lambda value: json.dumps(value).encode())
FUZZ = examples(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(scope="module")
def impatient() -> Iterator[None]:
    """A body that does not come is not waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.api.route.BODY_TIMEOUT_S", 0.3)
        patch.setattr("app.api.transport.HEAD_TIMEOUT_S", 3.0)
        yield


def check(status: int, answer: bytes) -> None:
    """A client may be refused in any way but one."""
    assert status, "no answer at all"
    assert status < 500 or (status == 503 and b"problem+json" in answer), answer
    if status >= 400:
        assert b"application/problem+json" in answer, answer


@pytest.mark.usefixtures("impatient")
@FUZZ
@given(
    target=st.sampled_from([target for target in TARGETS if target[1] != EVENTS]),
    tail=TAILS,
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=4),
    body=BODIES,
    has_length=st.booleans(),
)
def test_no_header_and_no_address_is_a_500(
    address: tuple[str, int],
    target: tuple[str, str],
    tail: list[str],
    headers: list[tuple[str, str]],
    body: bytes,
    has_length: bool,
) -> None:
    lines = [f"{name}: {value}" for name, value in headers]
    if not any(name == "X-API-Key" for name, _ in headers):
        lines.append(f"X-API-Key: {TEXT}")
    if has_length:
        lines.append(f"Content-Length: {len(body)}")
    check(*exchange(address, head(target[0], target[1] + "".join(tail), *lines) + body))


@pytest.mark.usefixtures("impatient")
@FUZZ
@given(
    path=st.sampled_from(BODY_TARGETS),
    body=BODIES,
    media=st.sampled_from(["application/json", "application/json; charset=utf-16", "text/plain", ""]),
    framing=st.sampled_from(["length", "too long", "too short", "chunks", "broken chunks", "endless"]),
)
def test_no_body_is_a_500(address: tuple[str, int], path: str, body: bytes, media: str, framing: str) -> None:
    lines = [f"X-API-Key: {TEXT}", f"Content-Type: {media}"]
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    sent, more = {
        "length": (body, f"Content-Length: {len(body)}"),
        "too long": (body, f"Content-Length: {len(body) + 9}"),
        "too short": (body, f"Content-Length: {max(len(body) - 9, 0)}"),
        "chunks": ((chunk if body else b"") + b"0\r\n\r\n", "Transfer-Encoding: chunked"),
        "broken chunks": (b"zz\r\n" + body, "Transfer-Encoding: chunked"),
        "endless": (chunk, "Transfer-Encoding: chunked"),
    }[framing]
    check(*exchange(address, head("POST", path, *lines, more) + sent))


@pytest.mark.usefixtures("impatient")
def test_client_that_goes_away_is_no_error_of_ours(address: tuple[str, int]) -> None:
    """In the middle of its body or before its answer; nobody hears the answer, but an alert would count it."""
    lines = [f"X-API-Key: {TEXT}", "Content-Type: application/json", "Content-Length: 50"]
    for path in BODY_TARGETS:
        for framing in (lines, [*lines[:-1], "Transfer-Encoding: chunked"]):
            with socket.create_connection(address, timeout=30) as client:
                client.sendall(head("POST", path, *framing) + b"1\r\n{")
                time.sleep(0.05)  # until the handler waits for the rest
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(head("GET", "/metrics", "Connection: close"))
        text = b"".join(iter(lambda: client.recv(65536), b""))
    counted = [line for line in text.splitlines() if line.startswith(b"http_requests_total")]
    assert any(b'status="499"' in line for line in counted)
    assert not [line for line in counted if b'status="500"' in line]
