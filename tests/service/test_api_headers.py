"""Headers of every answer: what a browser may do with it, and with pages of whom it may be shared."""

import pytest

from app.api.routes import ROUTES
from tests.support.build_keys import a_key, as_setting
from tests.support.serving import Client, Serve

PAGE = "https://shop.example"
PATHS = ["/livez", "/predict/odds/", "/nowhere", "/docs", "/docs/static/docs.js", "/predict/precomputed/x", "/metrics"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_is_safe_in_a_browser(client: Client, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "touchline"
    policy = headers["Content-Security-Policy"]
    assert ("default-src 'self'" if path == "/docs" else "default-src 'none'") in policy
    assert "Access-Control-Allow-Origin" not in headers


async def test_pages_of_listed_origins_may_read(serve: Serve) -> None:
    client = await serve(cors_origins=(PAGE,))
    answer = await client.get("/predict/odds/", headers={"Origin": PAGE})
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    exposed = set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert {"Age", "ETag", "Link", "RateLimit", "X-Request-ID", "X-Total-Count"} <= exposed
    assert answer.headers["Vary"].endswith("Origin")
    failure = await client.get("/predict/precomputed/1", headers={"Origin": PAGE})
    assert (failure.status, failure.headers["Access-Control-Allow-Origin"]) == (404, PAGE)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{PAGE}.evil.example", PAGE.upper(), "*"])
async def test_pages_of_other_origins_may_not(serve: Serve, origin: str) -> None:
    client = await serve(cors_origins=(PAGE,))
    answer = await client.get("/predict/odds/", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    asked = await client.options("/predict/odds/", headers=asking(origin))
    assert asked.status == 405


async def test_browser_asks_first_without_a_key(serve: Serve) -> None:
    client = await serve(cors_origins=(PAGE,), api_keys=as_setting(a_key()[1]))
    answer = await client.options("/predict/odds/", headers=asking(PAGE))
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert {"X-API-Key", "traceparent"} <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert (await client.get("/predict/odds/", headers={"Origin": PAGE})).status == 401


def asking(origin: str) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-API-Key"}


async def test_unknown_expectation_is_a_problem(client: Client) -> None:
    """It is refused before any middleware of ours runs, and has its answer all the same."""
    headers = {"Expect": "a-miracle", "X-Request-ID": "mine"}
    async with client.post("/artifacts/refresh", headers=headers) as response:
        said = await response.json(content_type="application/problem+json")
    assert (response.status, response.headers["X-Request-ID"]) == (417, "mine")
    assert (said["code"], said["request_id"]) == ("expectation-failed", "mine")


async def test_unknown_expectation_of_an_unknown_place_has_an_id(client: Client) -> None:
    """Which aiohttp answers without us."""
    async with client.get("/nowhere", headers={"Expect": "a-miracle", "X-Request-ID": "mine"}) as response:
        assert (response.status, response.headers["X-Request-ID"]) == (417, "mine")


async def test_client_that_waits_before_its_body_is_told_to_go_on(client: Client) -> None:
    async with client.post("/predict/async/", json={"match_ids": []}, expect100=True) as response:
        assert response.status == 422


NOT_TO_BE_KEPT = [
    "/livez", "/readyz", "/healthcheck/", "/metrics", "/predict/1", "/predict/model/info", "/predict/cards/sql",
    "/monitoring/drift", "/monitoring/quality", "/monitoring/arq/queues", "/monitoring/arq/workers",
    "/monitoring/task_status/t", "/predict/precomputed/1", "/nowhere",
]  # fmt: skip


async def test_shared_cache_keeps_nothing_that_is_of_this_moment(client: Client) -> None:
    for path in NOT_TO_BE_KEPT:
        assert (await client.get(path)).headers["Cache-Control"] == "no-store", path


async def test_answers_behind_a_key_vary_with_it(serve: Serve) -> None:
    """Whatever a cache keeps of one caller, it gives to no other, with no key or another one."""
    text, key = a_key()
    client = await serve(api_keys=as_setting(key))
    for route in ROUTES:
        if route.method == "GET" and route.path != "/events":
            path = route.path.replace("{match_id}", "1").replace("{task_id}", "t")
            for headers in ({}, {"X-API-Key": text}):
                answer = await client.get(path, headers=headers)
                vary = set(answer.headers.get("Vary", "").split(", "))
                assert ({"X-API-Key", "Authorization"} <= vary) == (route.scope is not None), path
                assert "public" not in answer.headers["Cache-Control"], path


async def test_documents_may_be_kept_and_are_asked_for_again(client: Client) -> None:
    for path in ("/docs", "/openapi.json", "/docs/static/docs.js"):
        assert (await client.get(path)).headers["Cache-Control"] == "no-cache"
