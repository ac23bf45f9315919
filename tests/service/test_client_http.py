"""How the client takes what goes wrong: answers that fail, wait, break off or mean nothing, from a server on a port."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.client import ApiFailure, ApiRequest, FeedEvent, TouchlineClient, change_events, http_session, operations
from app.schemas import CardsQuery, LiveQuery
from tests.dashboards.serving import serving, unused_port
from tests.support.build_cards import a_card, a_page

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROBLEM = {
    "type": "urn:problem:no-worker",
    "title": "No worker is alive",
    "code": "no-worker",
    "detail": "Nobody works.",
}
X = ApiRequest("/x")


def a_problem(status: int, headers: dict[str, str] | None = None, **more: object) -> web.Response:
    return web.json_response(
        PROBLEM | {"detail": "Nobody works.", "status": status} | more, status=status, headers=headers
    )


class Answers:
    """Answers one response after the other, the last for ever, and remembers what it was asked."""

    def __init__(self, *responses: Callable[[], web.Response]) -> None:
        self._responses = list(responses)
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        make = self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]
        return make()


async def failure_of(handler: Handler, request: ApiRequest = X) -> ApiFailure:
    async with serving({"/x": handler}) as url, TouchlineClient(url, patience_s=0) as client:
        with pytest.raises(ApiFailure) as caught:
            await client.send(request)
    return caught.value


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_session, "FIRST_PAUSE_S", 0.01)
    for module in (change_events, http_session):
        monkeypatch.setattr(module, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(change_events, "FIRST_PAUSE_S", 0.01)


async def test_an_answer_comes_with_its_etag() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=request.query["q"].encode(), headers={"ETag": '"v1"'})

    async with serving({"/x": answer}) as url, TouchlineClient(url + "/") as client:
        reply = await client.send(ApiRequest("/x", {"q": "Köln & Co"}))
    assert (reply.etag, reply.body) == ('"v1"', "Köln & Co".encode())


async def test_an_answer_that_still_holds_is_sent_once() -> None:
    async def answer(request: web.Request) -> web.Response:
        asked.append(request.headers.get("If-None-Match"))
        if asked[-1] == '"v1"':
            return web.Response(status=304, headers={"ETag": '"v1"'})
        return web.Response(body=a_page(a_card()).model_dump_json(), headers={"ETag": '"v1"'})

    asked: list[str | None] = []
    async with serving({"/predict/cards/": answer}) as url, TouchlineClient(url) as client:
        first = await client.list_cards()
        assert await client.list_cards() is first  # nothing is read twice, either
        await client.list_cards(CardsQuery(value=True))
    assert asked == [None, '"v1"', None]


async def test_kept_answers_stay_within_their_bytes() -> None:
    async def answer(request: web.Request) -> web.Response:
        tagged.append("If-None-Match" in request.headers)
        return web.Response(body=b"x" * 400, headers={"ETag": '"v1"'})

    tagged: list[bool] = []
    async with serving({"/x": answer}) as url, TouchlineClient(url, kept_bytes=1000) as client:
        for page in "abcab":
            await client.read(ApiRequest("/x", {"page": page}))
    assert tagged == [False] * 5  # of three answers two fit; the oldest went each time


async def test_a_problem_is_told_in_its_own_words() -> None:
    failure = await failure_of(Answers(lambda: a_problem(503, request_id="r7", match_id=3)).answer)
    assert (failure.reason, failure.code, failure.request_id) == ("Nobody works.", "no-worker", "r7")
    assert (failure.status, failure.extras) == (503, {"match_id": 3})
    assert str(failure) == "Nobody works. [no-worker]"


async def test_an_error_that_is_no_problem_shows_only_its_status() -> None:
    failure = await failure_of(
        Answers(lambda: web.Response(status=502, text="<h1>Traceback at 10.0.0.7:8000</h1>")).answer
    )
    assert failure.code == "status-502"
    assert "10.0.0.7" not in failure.reason


async def test_a_redirect_does_not_carry_the_key_elsewhere() -> None:
    elsewhere = Answers(web.Response)
    async with serving({"/x": elsewhere.answer}) as other:
        there = Answers(lambda: web.Response(status=308, headers={"Location": f"{other}/x"}))
        assert (await failure_of(there.answer)).code == "status-308"
    assert elsewhere.requests == []


async def test_a_slow_answer_is_given_up() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    assert (await failure_of(answer, ApiRequest("/x", timeout_s=0.1))).code == "slow"


async def test_a_service_that_is_not_there_is_told_without_its_address() -> None:
    async with TouchlineClient(f"http://127.0.0.1:{unused_port()}") as client:
        with pytest.raises(ApiFailure) as caught:
            await client.list_cards()
    assert caught.value.code == "unreachable"
    assert "127.0.0.1" not in caught.value.reason


async def test_a_client_can_be_used_again_after_the_service_was_away() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"back")

    app = web.Application()
    app.router.add_get("/x", answer)
    port = unused_port()
    async with TouchlineClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ApiFailure):
            await client.send(X)
        async with TestServer(app, port=port):
            assert (await client.send(X)).body == b"back"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_service_is_asked_again_when_it_says(status: int, quick: None) -> None:
    answers = Answers(
        lambda: a_problem(status, {"Retry-After": "0"}),
        lambda: a_problem(status),
        lambda: web.Response(body=b"now"),
    )
    async with serving({"/x": answers.answer}) as url, TouchlineClient(url) as client:
        assert (await client.send(X)).body == b"now"
    assert len(answers.requests) == 3


async def test_a_pause_longer_than_patience_is_a_failure_at_once() -> None:
    answers = Answers(lambda: a_problem(429, {"Retry-After": "3600"}))
    async with serving({"/x": answers.answer}) as url, TouchlineClient(url, patience_s=60) as client:
        with pytest.raises(ApiFailure) as caught:
            await client.send(X)
    assert (caught.value.status, caught.value.retry_after_s, len(answers.requests)) == (429, 3600.0, 1)


@pytest.mark.parametrize("status", [400, 404, 500, 504])
async def test_no_other_failure_is_tried_again(status: int, quick: None) -> None:
    answers = Answers(lambda: a_problem(status, {"Retry-After": "0"}))
    async with serving({"/x": answers.answer}) as url, TouchlineClient(url) as client:
        with pytest.raises(ApiFailure):
            await client.send(X)
    assert len(answers.requests) == 1


async def test_a_member_that_a_newer_service_adds_is_ignored_and_a_missing_one_is_not() -> None:
    page = a_page(a_card()).model_dump(mode="json")
    newer = page | {"new": 1, "snapshot": page["snapshot"] | {"newer": [1]}}
    for body, is_good in ((newer, True), ({name: newer[name] for name in newer if name != "total"}, False)):
        answers = Answers(lambda body=body: web.json_response(body))
        async with serving({"/predict/cards/": answers.answer}) as url, TouchlineClient(url) as client:
            if is_good:
                assert (await client.list_cards()).model_dump(mode="json") == page
            else:
                with pytest.raises(ApiFailure, match="unreadable"):
                    await client.list_cards()


async def test_what_is_not_json_is_unreadable() -> None:
    answers = Answers(lambda: web.Response(text="[1]"))
    handlers = {"/openapi.json": answers.answer, "/predict/7": answers.answer}
    async with serving(handlers) as url, TouchlineClient(url) as client:
        with pytest.raises(ApiFailure, match="unreadable"):
            await client.get_openapi()
        with pytest.raises(ApiFailure, match="unreadable"):
            await client.predict_match(7, LiveQuery(explain=True))
    assert answers.requests[1].query == {"explain": "true"}


async def test_a_service_that_is_not_ready_is_an_answer() -> None:
    body = {"ready": False, "degraded": True, "parts": [{"name": "redis", "ok": False, "detail": "away"}]}
    async with (
        serving({"/readyz": Answers(lambda: web.json_response(body, status=503)).answer}) as url,
        TouchlineClient(url) as client,
    ):
        ready = await client.get_readyz()
    assert (ready.ready, ready.parts[0].detail) == (False, "away")


async def test_a_task_without_a_result_in_time_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(lambda: web.json_response({"task_id": "t1", "status": "running"}))
    monkeypatch.setattr(operations, "LONGEST_LOOK_S", 0.05)
    async with (
        serving({"/monitoring/task_status/t1": answers.answer}) as url,
        TouchlineClient(url) as client,
    ):
        with pytest.raises(ApiFailure, match="running") as caught:
            await client.wait_for_task("t1", timeout_s=0.3)
    assert (caught.value.code, caught.value.extras) == ("slow", {"task_id": "t1"})
    assert len(answers.requests) > 2


async def test_a_task_that_fails_is_a_failure_with_its_code() -> None:
    body = {"task_id": "t1", "status": "failed", "error": "prediction-failed", "detail": "No good."}
    answers = Answers(lambda: web.json_response(body | {"status": "queued"}), lambda: web.json_response(body))
    async with serving({"/monitoring/task_status/t1": answers.answer}) as url, TouchlineClient(url) as client:
        with pytest.raises(ApiFailure, match="No good") as caught:
            await client.wait_for_task("t1")
    assert (caught.value.code, caught.value.extras) == ("prediction-failed", {"task_id": "t1"})


async def test_pages_of_two_snapshots_are_read_again() -> None:
    names = iter(["a", "b", "b", "b"])

    async def answer(request: web.Request) -> web.Response:
        link = {} if "cursor" in request.query else {"Link": '</predict/cards/?cursor=2>; rel="next"'}
        return web.Response(body=b"x", headers={"Touchline-Snapshot": next(names)} | link)

    async with serving({"/predict/cards/": answer}) as url, TouchlineClient(url) as client:
        assert (await client.fetch_cards_frame()).snapshot_id == "b"
        names = iter("abcdefghij")
        with pytest.raises(ApiFailure, match="snapshot-changed"):
            await client.fetch_cards_frame()


class Feed:
    """A feed that says each of its texts on a connection of its own."""

    def __init__(self, *texts: str | Callable[[], web.Response]) -> None:
        self._texts = list(texts)
        self.last_ids: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.last_ids.append(request.headers.get("Last-Event-ID"))
        text = self._texts.pop(0)
        if not isinstance(text, str):
            return text()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(text.encode())
        return response


async def take(client: TouchlineClient, n: int) -> list[FeedEvent]:
    taken = []
    async with asyncio.timeout(60):
        async for event in client.follow_events():
            taken.append(event)
            if len(taken) == n:
                break
    return taken


async def test_a_feed_that_breaks_goes_on_after_its_last_event(quick: None) -> None:
    feed = Feed(
        'retry: 100\n\n:\n\nid: e-1\nevent: model\ndata: {"alias":"champion","version":"4"}\n\n',
        lambda: a_problem(503, {"Retry-After": "0"}),
        'id: e-2\nevent: reset\ndata: {}\n\nevent: odds\ndata: {"snapshot":"s",\ndata: "match_ids":[1],"total":1,\n'
        'data: "truncated":false,"more":1}\n\nid: e-3\nevent: novel\ndata: 1\n\n',
    )
    async with serving({"/events": feed.answer}) as url, TouchlineClient(url) as client:
        model, reset, odds, novel = await take(client, 4)
    assert feed.last_ids == [None, "e-1", "e-1"]
    assert model.data is not None
    assert model.data.version == "4"  # type: ignore[union-attr]  # of its kind
    assert (reset.kind, reset.data, novel.data) == ("reset", None, None)
    assert odds.data is not None
    assert odds.data.match_ids == [1]  # type: ignore[union-attr]  # of its kind


async def test_an_event_outside_its_schema_is_unreadable() -> None:
    with pytest.raises(ApiFailure, match="unreadable"):
        _ = FeedEvent("e-1", "model", "{}").data


async def test_a_feed_that_refuses_the_caller_is_not_asked_again() -> None:
    feed = Feed(lambda: a_problem(403))
    async with serving({"/events": feed.answer}) as url, TouchlineClient(url) as client:
        with pytest.raises(ApiFailure):
            await take(client, 1)
    assert len(feed.last_ids) == 1
