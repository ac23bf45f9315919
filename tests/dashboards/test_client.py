import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dashboards.client import ApiClient, ApiFailure
from tests.dashboards.serving import serving, unused_port


async def ask(handler: object, **options: float) -> ApiFailure:
    async with serving({"/x": handler}) as url, ApiClient(url) as client:
        with pytest.raises(ApiFailure) as caught:
            await client.get("/x", {}, **options)
        return caught.value


async def test_an_answer_comes_with_its_etag() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=request.query["q"].encode(), headers={"ETag": '"v1"'})

    async with serving({"/x": answer}) as url, ApiClient(url + "/") as client:
        reply = await client.get("/x", {"q": "Köln & Co"})
    assert reply.etag == '"v1"'
    assert reply.body == "Köln & Co".encode()


async def test_a_copy_that_is_still_true_is_not_sent_again() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["If-None-Match"] == '"v1"'
        return web.Response(status=304, headers={"ETag": '"v1"'})

    async with serving({"/x": answer}) as url, ApiClient(url) as client:
        assert (await client.get("/x", {}, etag='"v1"')).body is None


async def test_a_problem_is_told_in_its_own_words() -> None:
    async def answer(_: web.Request) -> web.Response:
        body = {"type": "urn:problem:no-worker", "title": "No worker is alive", "status": 503, "code": "no-worker"}
        return web.json_response(body | {"detail": "Nobody works.", "request_id": "r7", "more": 1}, status=503)

    failure = await ask(answer)
    assert (failure.reason, failure.code, failure.request_id) == ("Nobody works.", "no-worker", "r7")


async def test_an_error_that_is_no_problem_shows_only_its_status() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<h1>Traceback at 10.0.0.7:8000</h1>")

    failure = await ask(answer)
    assert failure.code == "status-502"
    assert "10.0.0.7" not in failure.reason


async def test_a_slow_answer_is_given_up() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    assert (await ask(answer, timeout_s=0.1)).code == "slow"


async def test_an_api_that_is_not_there_is_told_without_its_address() -> None:
    async with ApiClient(f"http://127.0.0.1:{unused_port()}") as client:
        with pytest.raises(ApiFailure) as caught:
            await client.get("/x", {})
    assert caught.value.code == "unreachable"
    assert "127.0.0.1" not in caught.value.reason


async def test_a_client_can_be_used_again_after_the_api_was_away() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=b"back")

    app = web.Application()
    app.router.add_get("/x", answer)
    port = unused_port()
    async with ApiClient(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ApiFailure):
            await client.get("/x", {})
        async with TestServer(app, port=port):
            assert (await client.get("/x", {})).body == b"back"
