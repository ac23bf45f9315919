"""Every failure has the one shape."""

from typing import Any

import pytest
from aiohttp import web

from app import appkeys, errors
from app.api.headers import add_headers
from app.api.middleware import handle_request
from app.errors import ServiceError
from app.schemas import ProblemOut
from app.settings import Settings
from app.telemetry.api_metrics import Metrics


def all_errors() -> list[type[ServiceError]]:
    return [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ServiceError)]


async def answer_to(aiohttp_client: Any, failure: Exception) -> Any:
    async def fail(request: web.Request) -> web.Response:
        raise failure

    app = web.Application(middlewares=[handle_request])
    app[appkeys.SETTINGS] = Settings()
    app[appkeys.HTTP], app[appkeys.TRACING] = Settings().http, Settings().tracing
    app[appkeys.EXPORT] = None
    app[appkeys.METRICS] = Metrics()
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", fail)
    client = await aiohttp_client(app)
    return await client.get("/", allow_redirects=False)


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.code)
async def test_every_expected_failure_is_a_problem(aiohttp_client: Any, error: type[ServiceError]) -> None:
    response = await answer_to(aiohttp_client, error("What happened.", task_id="t-1", retry_after_s=1.2))
    problem = ProblemOut.model_validate(await response.json())
    assert response.content_type == "application/problem+json"
    assert (problem.type, problem.code, problem.title) == (f"urn:problem:{error.code}", error.code, error.title)
    assert (response.status, problem.status, problem.detail) == (error.status, error.status, "What happened.")
    assert problem.request_id == response.headers["X-Request-ID"]
    assert (await response.json())["task_id"] == "t-1"
    assert response.headers["Retry-After"] == "2"


def test_codes_are_kebab_case_and_each_its_own() -> None:
    codes = [error.code for error in all_errors()]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and "_" not in code for code in codes)


async def test_failure_of_aiohttp_is_a_problem_and_keeps_what_a_client_needs(aiohttp_client: Any) -> None:
    response = await answer_to(aiohttp_client, web.HTTPMethodNotAllowed("GET", ["POST"]))
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert ProblemOut.model_validate(await response.json()).code == "method-not-allowed"


async def test_redirect_is_no_failure(aiohttp_client: Any) -> None:
    response = await answer_to(aiohttp_client, web.HTTPFound("/elsewhere"))
    assert (response.status, response.headers["Location"]) == (302, "/elsewhere")


async def test_unexpected_failure_tells_nothing_of_its_cause(aiohttp_client: Any) -> None:
    response = await answer_to(aiohttp_client, RuntimeError("password=hunter2 in /etc/secret"))
    text = await response.text()
    assert (response.status, (await response.json())["code"]) == (500, "internal-error")
    assert "hunter2" not in text
    assert "secret" not in text
