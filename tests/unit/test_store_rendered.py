"""Answers kept as bytes: a bound that holds, tags that outlive bytes, work done once."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.compression import Coding
from app.store.lru import SingleFlight
from app.store.response_cache import CachedResponse, ResponseCache


def kept(rendered: ResponseCache, key: str) -> bytes | None:
    answer = rendered.get(key)
    return answer.body if answer else None


def an_answer(size_bytes: int = 40) -> CachedResponse:
    return CachedResponse("tag", {"ETag": "tag"}, b"x" * size_bytes)


def test_bytes_least_lately_asked_for_go_first_and_their_tag_stays() -> None:
    rendered = ResponseCache(limit_bytes=100)
    for key in ("a", "b"):
        rendered.put(key, an_answer())
    assert kept(rendered, "a") is not None
    rendered.put("c", an_answer())
    assert kept(rendered, "b") is None
    assert kept(rendered, "a") == kept(rendered, "c") == b"x" * 40
    forgotten = rendered.get("b")
    assert forgotten is not None
    assert (forgotten.tag, forgotten.headers, forgotten.is_large) == ("tag", {"ETag": "tag"}, False)


def test_tags_are_bounded_too() -> None:
    rendered = ResponseCache(limit_tags=2)
    for key in ("a", "b", "c"):
        rendered.put(key, an_answer())
    assert rendered.get("a") is None
    assert rendered.size_bytes == 80


def test_answer_without_a_byte_is_dropped_like_any_other() -> None:
    """As the NDJSON of no rows is."""
    rendered = ResponseCache(limit_bytes=100)
    rendered.put("nothing", an_answer(0))
    for key in ("a", "b", "c"):
        rendered.put(key, an_answer())
    forgotten = rendered.get("nothing")
    assert forgotten is not None
    assert forgotten.body is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60), st.booleans()), max_size=60))
def test_size_is_that_of_what_is_kept_and_never_past_the_bound(steps: list[tuple[str, int, bool]]) -> None:
    rendered = ResponseCache(limit_bytes=150)
    for key, size_bytes, is_coded in steps:
        answer = an_answer(size_bytes)
        rendered.put(key, answer)
        if is_coded:
            answer.coded[Coding.GZIP] = b"y" * (size_bytes // 2)
            rendered.put(key, answer)
        found = [rendered.get(each) for each in "abcdef"]
        assert rendered.size_bytes == sum(each.size_bytes for each in found if each) <= 150


def test_words_lead_to_the_answer_they_meant() -> None:
    rendered = ResponseCache(limit_tags=2)
    rendered.put("key", an_answer())
    rendered.index_raw_key("words", "key", (Coding.GZIP,))
    answer, codings = rendered.get_by_raw_key("words") or pytest.fail("unknown words")
    assert (answer.tag, codings) == ("tag", (Coding.GZIP,))
    assert rendered.get_by_raw_key("other words") is None
    for number in range(3):
        rendered.index_raw_key(number, "key", ())
    assert rendered.get_by_raw_key("words") is None  # forgotten, not leaked


async def test_work_for_several_is_done_once() -> None:
    flights, begun, go_on = SingleFlight(), [], asyncio.Event()

    async def work() -> str:
        begun.append(1)
        await go_on.wait()
        return "done"

    asking = [asyncio.create_task(flights.do("key", work)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()  # the one who began it goes away; the others get their answer
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*asking[1:]) == ["done"] * 4
    assert begun == [1]
    assert await flights.do("key", work) == "done"
    assert begun == [1, 1]


async def test_work_nobody_waits_for_is_stopped() -> None:
    flights, ended = SingleFlight(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    asking = [asyncio.create_task(flights.do("key", work)) for _ in range(2)]
    await asyncio.sleep(0.01)
    for each in asking:
        each.cancel()
    await asyncio.wait_for(ended.wait(), 5)


async def test_failure_is_everybodys() -> None:
    flights = SingleFlight()

    async def work() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    ends = await asyncio.gather(*[flights.do("key", work) for _ in range(3)], return_exceptions=True)
    assert [type(end) for end in ends] == [ZeroDivisionError] * 3
