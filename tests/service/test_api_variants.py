"""Compressed variants, entity tags and the cache of answers, as caches and browsers meet them."""

import asyncio
import gzip
from collections.abc import Mapping
from typing import NamedTuple

import brotli
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import appkeys
from app.store.compression import zstd
from app.store.response_cache import ResponseCache
from tests.support.serving import Client, until

UNPACK = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress}
CARDS = "/predict/cards/"


class Got(NamedTuple):
    """An answer as it came over the wire, not unpacked."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def get(client: Client, path: str, method: str = "GET", **headers: str) -> Got:
    named = {name.replace("_", "-"): value for name, value in ({"Accept_Encoding": "identity"} | headers).items()}
    async with client.request(method, path, headers=named, auto_decompress=False) as response:
        return Got(response.status, response.headers, await response.read())


def rendered_of(client: Client) -> ResponseCache:
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    return snapshot.response_cache


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_variant_is_the_same_content_under_a_tag_of_its_own(client: Client, coding: str) -> None:
    plain, packed = await get(client, CARDS), await get(client, CARDS, Accept_Encoding=coding)
    assert (packed.status, packed.headers["Content-Encoding"]) == (200, coding)
    assert UNPACK[coding](packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 4
    assert int(packed.headers["Content-Length"]) == len(packed.body)
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept, Accept-Encoding, X-API-Key, Authorization"
    head = await get(client, CARDS, "HEAD", Accept_Encoding=coding)
    for name in ("Content-Encoding", "Content-Length", "ETag", "Content-Type"):
        assert head.headers[name] == packed.headers[name]


async def test_tag_of_any_variant_that_may_be_used_is_304_and_named_again(client: Client) -> None:
    tags = {coding: (await get(client, CARDS, Accept_Encoding=coding)).headers["ETag"] for coding in ("gzip", "br")}
    for tag in tags.values():
        known = await get(client, CARDS, Accept_Encoding="gzip, br", If_None_Match=f'"x", {tag}')
        assert (known.status, known.headers["ETag"], known.body) == (304, tag, b"")
        assert "Content-Type" not in known.headers
        assert known.headers["X-Total-Count"] == "60"
    # a cache that serves a client without brotli must not be told to use its brotli copy
    refused = await get(client, CARDS, Accept_Encoding="gzip", If_None_Match=tags["br"])
    assert (refused.status, refused.headers["Content-Encoding"]) == (200, "gzip")
    assert (await get(client, CARDS, If_None_Match="*")).status == 304


async def test_small_answer_is_not_compressed_unless_plain_bytes_are_refused(client: Client) -> None:
    path = "/predict/cards/?q=nobody&format=csv&fields=match_id"
    assert "Content-Encoding" not in (await get(client, path, Accept_Encoding="gzip")).headers
    packed = await get(client, path, Accept_Encoding="gzip, identity;q=0")
    assert gzip.decompress(packed.body) == b'"match_id"\n'


async def test_parquet_is_compressed_in_itself_alone(client: Client) -> None:
    found = await get(client, f"{CARDS}?format=parquet", Accept_Encoding="gzip, br, zstd")
    assert "Content-Encoding" not in found.headers
    assert found.body[:4] == found.body[-4:] == b"PAR1"


async def test_streamed_answer_is_compressed_on_its_way(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await get(client, "/predict/predictions/?format=ndjson")
    monkeypatch.setattr("app.api.responses.LARGEST_BYTES", 1000)
    for coding in ("gzip", "br", "zstd"):
        packed = await get(client, "/predict/predictions/?format=ndjson&fields=" + "", Accept_Encoding=coding)
        assert packed.headers.get("Transfer-Encoding") == "chunked"
        assert UNPACK[coding](packed.body) == whole.body
        assert packed.headers["ETag"].endswith(f'-{coding}"')


async def test_question_asked_by_many_at_once_is_put_to_duckdb_once(client: Client) -> None:
    limiter = client.app[appkeys.QUERY_LIMITER]

    async def is_measured() -> bool:
        # the gauges of a new snapshot ask too, beside the first requests
        return limiter.finished >= 2 and not (limiter.running or limiter.waiting)

    await until(is_measured, timeout_s=60)
    before = limiter.finished
    # by another method, so that the rows come from DuckDB and not from their file
    path = f"{CARDS}?devig=shin"
    asked = [get(client, path, Accept_Encoding=coding) for coding in ("identity", "gzip", "br") * 7]
    answers = await asyncio.gather(*asked)
    assert {UNPACK[answer.headers.get("Content-Encoding")](answer.body) for answer in answers} == {
        UNPACK[None](answers[0].body)
    }
    # the page's keys, then its rows
    assert limiter.finished - before == 2


async def test_hits_and_misses_are_counted(client: Client) -> None:
    rendered = rendered_of(client)
    for _ in range(3):
        await get(client, CARDS)
    await get(client, f"{CARDS}?sort=kickoff")  # the same in other words
    await get(client, f"{CARDS}?sort=-kickoff")
    assert (rendered.hits, rendered.misses) == (3, 2)


async def test_same_words_need_no_second_look(client: Client) -> None:
    """Neither handler nor database: with both gone the answer is still there, for GET, HEAD and 304."""
    first = await get(client, CARDS, Accept_Encoding="gzip")
    snapshot = client.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    snapshot.database._pool.shutdown()
    again = await get(client, CARDS, Accept_Encoding="gzip")
    assert (again.status, again.body) == (200, first.body)
    assert (await get(client, CARDS, "HEAD", Accept_Encoding="gzip")).headers["Content-Length"] == str(len(first.body))


QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "region": st.sampled_from(["Italy", "England", "Nowhere", "Elsewhere"]),
        "status": st.sampled_from(["upcoming", "finished", "live"]),
        "min_edge": st.sampled_from(["-1", "0", "0.05", "5"]),
        "limit": st.sampled_from(["1", "60", "200", "1000"]),
        "sort": st.sampled_from(["kickoff", "-kickoff", "edge", "-edge"]),
        "format": st.sampled_from(["json", "ndjson", "csv", "arrow", "parquet"]),
        "fields": st.sampled_from(["match_id", "match_id,money", "region"]),
    },
)


@pytest.mark.timeout(600)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=QUERIES,
    second=QUERIES,
    codings=st.tuples(*[st.sampled_from(["identity", "gzip", "br", "zstd", "gzip, br;q=0.5"])] * 2),
)
async def test_equal_tag_if_and_only_if_equal_bytes(
    client: Client, first: dict[str, str], second: dict[str, str], codings: tuple[str, str]
) -> None:
    """Whatever is asked, in whatever form and coding; and what has the tag gets a 304."""
    answers = []
    for query, coding in zip((first, second), codings, strict=True):
        path = f"{CARDS}?" + "&".join(f"{name}={value}" for name, value in query.items())
        answers.append(await get(client, path, Accept_Encoding=coding))
        tag = answers[-1].headers["ETag"]
        assert (await get(client, path, Accept_Encoding=coding, If_None_Match=tag)).status == 304
    assert (answers[0].headers["ETag"] == answers[1].headers["ETag"]) == (answers[0].body == answers[1].body)
