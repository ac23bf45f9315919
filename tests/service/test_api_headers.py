"""Headers of every answer: what a browser may do with it, and with pages of whom it may be shared."""

import asyncio
from email.utils import parsedate_to_datetime

import pytest

from app.api.headers import written_head
from app.api.routes import ROUTES
from app.settings import Settings
from tests.support.build_artifacts import FIRST_ID
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


@pytest.mark.parametrize("is_public", [False, True], ids=["open", "keys, quota, origins"])
async def test_head_that_is_written_directly_says_what_aiohttp_writes(
    serve: Serve, live_settings: Settings, *, is_public: bool
) -> None:
    """A HEAD goes through aiohttp's own dictionary of headers: that is what a GET of the same is compared with."""
    text, key = a_key()
    public = {"api_keys": as_setting(key), "cors_origins": (PAGE,), "rate_limit_per_minute": 6000}
    client = await serve(redis_url=live_settings.redis_url, **(public if is_public else {}))
    asking_headers = {"X-API-Key": text, "Origin": PAGE, "X-Request-ID": "mine", "Accept-Encoding": "gzip"}
    own = {"traceparent", "ratelimit", "date"}

    async def heads(path: str, **more: str) -> list[dict[str, str]]:
        found = []
        for method in ("GET", "HEAD"):
            async with client.request(method, path, headers=asking_headers | more) as response:
                names = {name.lower(): value for name, value in response.headers.items()}
                if is_public:
                    assert (names["ratelimit-policy"], names["access-control-allow-origin"]) == (
                        '"caller";q=6000;w=60',
                        PAGE,
                    )
                assert names["x-request-id"] == "mine"
                assert parsedate_to_datetime(names["date"]).tzinfo is not None
                found.append({name: value for name, value in names.items() if name not in own})
        return found

    for path in ("/predict/cards/", "/predict/cards/?limit=7&format=csv", f"/predict/precomputed/{FIRST_ID}"):
        await client.get(path, headers=asking_headers)
        direct, ordinary = await heads(path)
        assert direct == ordinary
        known, ordinary_known = await heads(path, **{"If-None-Match": direct["etag"]})
        assert known == ordinary_known
        assert "content-length" not in known


async def test_connection_ends_after_an_answer_when_the_client_says_so(client: Client) -> None:
    for version, header, ends in (("1.1", "close", True), ("1.0", "x", True), ("1.1", "keep-alive", False)):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        request = f"GET /predict/cards/?limit=1 HTTP/{version}\r\nHost: localhost\r\nConnection: {header}\r\n\r\n"
        for _ in range(2):  # the second comes from the cache
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(f"HTTP/{version} 200 OK\r\n".encode())
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            assert len(await reader.readexactly(length)) == length
            if ends:
                assert (b"connection: close" in head.lower()) == (version == "1.1")
                assert await reader.read() == b""
                break
        writer.close()


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"])
def test_header_with_a_line_break_is_never_written(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        written_head(200, (("Link", value),), "")
