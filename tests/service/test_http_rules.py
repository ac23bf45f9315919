"""What REDbot looks for in answers of a cacheable resource: RFC 9110 and 9111, one rule a test, over every read."""

import gzip
import re
import zlib
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pyarrow as pa
import pytest
from aiohttp import ClientResponse

from app.api.routes import ROUTES
from tests.support.build_artifacts import FIRST_ID
from tests.support.serving import Client

READS = [
    route.path.replace("{match_id}", str(FIRST_ID + 3))
    for route in ROUTES
    if route.method == "GET" and route.cached_response is not None
]
CODINGS = ["identity", "gzip", "br", "zstd"]
ENTITY_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e]*"')
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OF_THE_MOMENT = {"date", "x-request-id", "traceparent", "ratelimit", "age", "transfer-encoding", "server-timing"}
OF_A_304 = ("ETag", "Vary", "Cache-Control", "Content-Location", "Expires")

every_coding = pytest.mark.parametrize("coding", CODINGS)


async def ask(client: Client, path: str, method: str = "GET", **headers: str) -> tuple[ClientResponse, bytes]:
    """An answer and its bytes as they came."""
    fields = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, path, headers=fields, auto_decompress=False) as response:
        return response, await response.read()


def inflated(coding: str, body: bytes) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "identity":
        return body
    return bytes(pa.input_stream(pa.py_buffer(body), compression={"br": "brotli"}.get(coding, coding)).read())


def listed(response: ClientResponse, name: str) -> set[str]:
    """The members of a header that is a list, in lower case."""
    return {member.strip().lower() for member in response.headers.get(name, "").split(",") if member.strip()}


def test_there_are_reads() -> None:
    assert len(READS) >= 9


@every_coding
async def test_fields_are_well_formed_and_agree_with_the_body(client: Client, coding: str) -> None:
    for path in READS:
        response, body = await ask(client, path, Accept_Encoding=coding)
        assert response.status == HTTPStatus.OK
        for name, value in response.headers.items():
            assert TOKEN.fullmatch(name)
            assert value == value.strip()
            assert value.isascii()
        assert ENTITY_TAG.fullmatch(response.headers["ETag"])
        assert parsedate_to_datetime(response.headers["Date"]).tzinfo is not None
        assert len(response.headers.getall("Date")) == len(response.headers.getall("ETag")) == 1
        if "Content-Length" in response.headers:
            assert int(response.headers["Content-Length"]) == len(body)
            assert "Transfer-Encoding" not in response.headers
        given = response.headers.get("Content-Encoding", "identity")
        assert given in {coding, "identity"}
        _, plain = await ask(client, path)
        assert inflated(given, body) == plain


async def test_what_is_negotiated_is_named_in_vary(client: Client) -> None:
    for path in READS:
        response, _ = await ask(client, path)
        assert {"accept", "accept-encoding"} <= listed(response, "Vary")
        other, _ = await ask(client, path, Accept_Encoding="gzip")
        assert listed(other, "Vary") == listed(response, "Vary")


@every_coding
async def test_head_is_get_without_the_content(client: Client, coding: str) -> None:
    for path in READS:
        got, _ = await ask(client, path, Accept_Encoding=coding)
        head, body = await ask(client, path, "HEAD", Accept_Encoding=coding)
        assert body == b""
        fields = [
            {name.lower(): value for name, value in response.headers.items() if name.lower() not in OF_THE_MOMENT}
            for response in (head, got)
        ]
        assert fields[0] == fields[1]


@every_coding
async def test_304_has_what_a_200_would_tell_a_cache_and_no_content(client: Client, coding: str) -> None:
    for path in READS:
        full, _ = await ask(client, path, Accept_Encoding=coding)
        tag = full.headers["ETag"]
        for tags in (tag, f"W/{tag.removeprefix('W/')}", f'"other", {tag}', f'{tag},"other"', "*"):
            known, body = await ask(client, path, Accept_Encoding=coding, If_None_Match=tags)
            assert (known.status, body) == (HTTPStatus.NOT_MODIFIED, b""), tags
            for name in OF_A_304:
                assert known.headers.get(name) == full.headers.get(name), name
            assert "Content-Encoding" not in known.headers
            assert parsedate_to_datetime(known.headers["Date"])


async def test_tag_that_is_not_the_resource_s_is_answered_in_full(client: Client) -> None:
    for path in READS:
        whole, plain = await ask(client, path)
        unquoted = whole.headers["ETag"].removeprefix("W/").strip('"')
        for tags in ('"other"', 'W/"other"', '""', unquoted, f'"{unquoted}', '"a", "b"', "garbage,,", '"*"'):
            response, body = await ask(client, path, If_None_Match=tags)
            assert (response.status, body) == (HTTPStatus.OK, plain), tags


async def test_conditions_and_ranges_that_are_not_offered_change_nothing(client: Client) -> None:
    for path in READS:
        _, plain = await ask(client, path)
        for headers in (
            {"If_Modified_Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
            {"If_Modified_Since": "no date"},
            {"Range": "bytes=0-9"},
            {"Range": "bytes=9-0", "If_Range": '"other"'},
        ):
            response, body = await ask(client, path, **headers)
            assert (response.status, body) == (HTTPStatus.OK, plain), headers
            assert "Content-Range" not in response.headers


async def test_coding_is_one_that_the_client_takes(client: Client) -> None:
    for path in READS:
        for wanted, refused in (
            ("gzip;q=0", "gzip"),
            ("gzip;q=0, zstd;q=0", "gzip"),
            ("*;q=0, identity", "gzip"),
            ("br;q=0, *", "br"),
            ("GZIP;q=1.000", "zstd"),
            ("gzip;q=0.5, zstd;q=0.1", "zstd"),
            ("x-unknown, ;, gzip;;q=1", "x-unknown"),
        ):
            response, _ = await ask(client, path, Accept_Encoding=wanted)
            assert response.status == HTTPStatus.OK, wanted
            assert response.headers.get("Content-Encoding", "identity") != refused, wanted


async def test_each_coding_has_a_tag_of_its_own(client: Client) -> None:
    """A strong tag names bytes: what a cache has of one coding must never be taken for another's."""
    for path in READS:
        answers = [(await ask(client, path, Accept_Encoding=coding))[0] for coding in CODINGS]
        tags = {response.headers["ETag"] for response in answers}
        codings = {response.headers.get("Content-Encoding") for response in answers}
        assert len(tags) == len(codings)


async def test_freshness_is_said(client: Client) -> None:
    for path in READS:
        response, _ = await ask(client, path)
        directives = listed(response, "Cache-Control")
        assert directives & {"no-cache", "no-store"} or any(each.startswith("max-age=") for each in directives)
        assert "Pragma" not in response.headers
        for directive in directives:
            name, _, value = directive.partition("=")
            assert TOKEN.fullmatch(name)
            assert value == "" or value.isdigit()


async def test_other_methods_are_405_with_those_that_are_allowed(client: Client) -> None:
    for path in READS:
        for method in ("PUT", "PATCH", "DELETE", "PROPFIND"):
            response, _ = await ask(client, path, method)
            assert response.status == HTTPStatus.METHOD_NOT_ALLOWED
            assert {"get", "head"} <= listed(response, "Allow")
            assert response.headers["Content-Type"].startswith("application/problem+json")


def test_a_wrong_body_would_be_seen() -> None:
    with pytest.raises((gzip.BadGzipFile, zlib.error, EOFError)):
        inflated("gzip", b"plain")
