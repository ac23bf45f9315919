import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from app.client import ApiFailure, ApiSession
from app.schemas import CardsOut
from dashboards.store import PAGE_ROWS, CachedAnswer, Store
from tests.dashboards.serving import serving, unused_port
from tests.support.build_cards import a_card, a_page, some_results


class Api:
    """Answers with a page of cards and counts how often it was asked; can fail, and can be slow."""

    def __init__(self) -> None:
        self.page: CardsOut = a_page(a_card())
        self.etag = '"v1"'
        self.asked: list[dict[str, str]] = []
        self.not_modified = 0
        self.status = 200
        self.delay_s = 0.0

    async def cards(self, request: web.Request) -> web.Response:
        self.asked.append({name: ",".join(request.query.getall(name)) for name in request.query})
        await asyncio.sleep(self.delay_s)
        if self.status != 200:
            return web.Response(status=self.status)
        if request.headers.get("If-None-Match") == self.etag:
            self.not_modified += 1
            return web.Response(status=304, headers={"ETag": self.etag})
        return web.Response(body=self.page.model_dump_json(), headers={"ETag": self.etag})

    @asynccontextmanager
    async def store(self, ttl_s: float = 60.0) -> AsyncIterator[Store]:
        async with serving({"/predict/cards/": self.cards}) as url, ApiSession(url, patience_s=0) as client:
            yield Store(client, ttl_s=ttl_s)


@pytest.fixture
def api() -> Api:
    return Api()


async def test_a_window_is_asked_for_with_filter_order_and_size(api: Api) -> None:
    async with api.store() as store:
        await store.load_cards({"region": ("England", "Italy")}, sort="-edge", cursor="abc")
    assert api.asked == [{"region": "England,Italy", "sort": "-edge", "limit": str(PAGE_ROWS), "cursor": "abc"}]


async def test_a_window_holds_rows_as_json_and_what_the_page_says_of_itself(api: Api) -> None:
    api.page = a_page(a_card(), total=7, next_cursor="more")
    async with api.store() as store:
        window = (await store.load_cards({}, sort="kickoff")).value
    assert [row["home"] for row in json.loads(window.rows)] == ["Ashford Town"]
    assert (window.n_rows, window.total, window.next_cursor, window.snapshot.id) == (1, 7, "more", "s1")


async def test_sessions_that_ask_the_same_at_once_make_one_request(api: Api) -> None:
    api.delay_s = 0.05
    async with api.store() as store:
        windows = await asyncio.gather(*(store.load_cards({}, sort="kickoff") for _ in range(20)))
    assert len(api.asked) == 1
    assert len({id(kept.value.rows) for kept in windows}) == 1


async def test_one_session_that_leaves_does_not_take_the_answer_from_another(api: Api) -> None:
    api.delay_s = 0.1
    async with api.store() as store:
        first = asyncio.create_task(store.load_cards({}, sort="kickoff"))
        second = asyncio.create_task(store.load_cards({}, sort="kickoff"))
        await asyncio.sleep(0.02)
        first.cancel()
        assert (await second).value.total == 1


async def test_a_young_answer_is_not_asked_for_again(api: Api) -> None:
    async with api.store() as store:
        await store.load_cards({}, sort="kickoff")
        await store.load_cards({}, sort="kickoff")
        await store.load_cards({}, sort="-edge")
    assert len(api.asked) == 2


async def test_after_a_change_even_an_answer_on_its_way_is_asked_for_again(api: Api) -> None:
    api.delay_s = 0.05
    async with api.store() as store:
        early = asyncio.create_task(store.load_cards({}, sort="kickoff"))
        await asyncio.sleep(0.01)
        store.invalidate()
        api.etag = '"v2"'
        late = await store.load_cards({}, sort="kickoff")
        await early
        assert late.etag == '"v2"'
        assert len(api.asked) == 2
        await store.load_cards({}, sort="kickoff")
    assert len(api.asked) in {2, 3}  # the early answer may have come last; it counts as old then


async def test_an_old_answer_is_revalidated_by_its_etag(api: Api) -> None:
    async with api.store(ttl_s=0) as store:
        first = await store.load_cards({}, sort="kickoff")
        second = await store.load_cards({}, sort="kickoff")
    assert api.not_modified == 1
    assert second.value is first.value
    assert second.seen_at > first.seen_at


async def test_a_changed_answer_replaces_the_old_one(api: Api) -> None:
    async with api.store(ttl_s=0) as store:
        await store.load_cards({}, sort="kickoff")
        api.page, api.etag = a_page(), '"v2"'
        assert (await store.load_cards({}, sort="kickoff")).value.total == 0


async def test_old_data_is_kept_with_its_age_when_the_api_fails(api: Api) -> None:
    async with api.store(ttl_s=0) as store:
        first = await store.load_cards({}, sort="kickoff")
        api.status = 500
        kept = await store.load_cards({}, sort="kickoff")
        assert kept.value is first.value
        assert kept.seen_at == first.seen_at
        assert kept.failure is not None
        api.status = 200
        again = await store.load_cards({}, sort="kickoff")
    assert again.failure is None
    assert datetime.now(UTC) - again.seen_at < timedelta(seconds=5)


async def test_a_failure_is_tried_again_at_once_even_within_the_time_to_live(api: Api) -> None:
    async with api.store(ttl_s=0.05) as store:
        await store.load_cards({}, sort="kickoff")
        await asyncio.sleep(0.1)
        api.status = 500
        assert (await store.load_cards({}, sort="kickoff")).failure is not None
        api.status = 200
        assert (await store.load_cards({}, sort="kickoff")).failure is None


async def test_without_old_data_a_failure_is_raised(api: Api) -> None:
    api.status = 503
    async with api.store() as store:
        with pytest.raises(ApiFailure, match="status 503"):
            await store.load_cards({}, sort="kickoff")


async def test_an_answer_outside_the_schema_is_a_failure() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"hello": "world"})

    async with serving({"/predict/cards/": answer}) as url, ApiSession(url, patience_s=0) as client:
        with pytest.raises(ApiFailure) as caught:
            await Store(client).load_cards({}, sort="kickoff")
    assert caught.value.code == "unreadable"


async def test_the_least_recently_used_answers_are_forgotten() -> None:
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=some_results().model_dump_json())

    async with serving({"/predict/roi/": answer}) as url, ApiSession(url, patience_s=0) as client:
        store = Store(client)
        for i in range(300):
            await store.load_results({"q": str(i)})
        await store.load_results({"q": "299"})
        assert asked == 300
        await store.load_results({"q": "0"})
    assert asked == 301


async def test_a_live_prediction_of_no_match_id_is_refused() -> None:
    async with ApiSession(f"http://127.0.0.1:{unused_port()}") as client:
        with pytest.raises(ValueError, match="invalid literal"):
            await Store(client).predict("../admin", "champion")


async def test_an_api_that_is_not_ready_is_shown_and_remembered() -> None:
    """Its 503 carries the parts; once it is gone, the parts known last stand with the failure."""
    ready = {"ready": True, "degraded": False, "parts": [{"name": "snapshot", "ok": True, "detail": "s1"}]}
    answers = [(200, ready), (503, ready | {"ready": False}), (502, {})]

    async def readyz(_: web.Request) -> web.Response:
        status, body = answers.pop(0)
        return web.json_response(body, status=status)

    async with serving({"/readyz": readyz}) as url, ApiSession(url, patience_s=0) as client:
        store = Store(client, ttl_s=0)
        states = [(await store.load_operations())["ready"] for _ in range(3)]
    assert [isinstance(state, CachedAnswer) and state.value.model_dump()["ready"] for state in states] == [
        True,
        False,
        False,
    ]
    last = states[-1]
    assert isinstance(last, CachedAnswer)
    assert last.failure is not None
    assert last.failure.code == "status-502"
