"""A route reads its handler's signature once, at import."""

from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from app.api.route import Route
from app.schemas import LiveOut, MatchPath


async def get_thing(request: web.Request, path: MatchPath) -> LiveOut:
    """Get a thing.

    More about it.
    """
    return LiveOut(status="alive")


async def get_page(request: web.Request) -> web.Response:
    """Get a page."""
    return web.Response()


def test_route_knows_what_its_handler_takes_and_gives() -> None:
    route = Route("GET", "/thing/{match_id}", get_thing)
    assert route.takes == {"path": MatchPath}
    assert route.gives is LiveOut
    assert route.summary == "Get a thing."


def test_route_of_a_page_gives_no_model_unless_told() -> None:
    assert Route("GET", "/page", get_page).gives is None
    assert Route("GET", "/page", get_page, answer=LiveOut).gives is LiveOut


def test_parameter_of_another_name_is_refused_at_once() -> None:
    async def wrong(request: web.Request, match_id: MatchPath) -> LiveOut:
        return LiveOut(status="alive")

    with pytest.raises(TypeError, match="match_id"):
        Route("GET", "/wrong", wrong)


def test_parameter_that_is_no_model_is_refused_at_once() -> None:
    async def wrong(request: web.Request, path: int) -> LiveOut:
        return LiveOut(status="alive")

    with pytest.raises(TypeError, match="path"):
        Route("GET", "/wrong", wrong)


async def test_handler_gets_models_and_its_model_becomes_json(aiohttp_client: Any) -> None:
    class Echo(BaseModel):
        match_id: int

    async def echo(request: web.Request, path: MatchPath) -> Echo:
        return Echo(match_id=path.match_id)

    # local classes are not found by name, so the hints are given as they are
    echo.__annotations__ = {"request": web.Request, "path": MatchPath, "return": Echo}
    app = web.Application()
    app.router.add_get("/echo/{match_id}", Route("GET", "/echo/{match_id}", echo, scope=None).endpoint())
    client = await aiohttp_client(app)
    response = await client.get(f"/echo/{2**62 + 1}")
    assert await response.text() == f'{{"match_id":{2**62 + 1}}}'
    assert response.content_type == "application/json"
