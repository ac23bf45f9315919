"""Keys, scopes and rates over HTTP."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from app import appkeys
from app.api.routes import ROUTES
from app.auth import keys
from app.auth.keys import Scope
from app.auth.rate_limit import Quota, RateLimit
from app.errors import RateLimited
from app.queue.redis import connect, disconnect
from app.settings import Settings
from tests.support.build_artifacts import FIRST_ID
from tests.support.build_keys import a_key, as_setting
from tests.support.events import listening
from tests.support.serving import Client, Serve, until
from tests.support.slow_proxy import slow_proxy

OPEN = ["/livez", "/readyz", "/healthcheck/", "/metrics", "/docs", "/openapi.json"]


def shown(text: str) -> dict[str, str]:
    return {"X-API-Key": text}


async def status(client: Client, path: str, headers: dict[str, str] | None = None) -> int:
    return (await client.get(path, headers=headers)).status


def test_what_is_open_is_open_on_purpose() -> None:
    assert [route.path for route in ROUTES if route.scope is None] == [
        "/healthcheck/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs",
    ]  # fmt: skip
    watched = [route for route in ROUTES if route.path.startswith("/monitoring/")]
    # whoever may submit a prediction may follow it and take it back
    assert {route.scope for route in watched if "task_status" in route.path} == {Scope.PREDICT}
    # what moves an alias is an operator's; all else there is to be looked at
    assert [route.path for route in watched if route.scope is Scope.ADMIN] == ["/monitoring/models/promote"]
    looked_at = {route.scope for route in watched if "task_status" not in route.path} - {Scope.ADMIN}
    assert looked_at == {Scope.MONITOR}


async def test_without_keys_everything_is_open(client: Client) -> None:
    assert await status(client, "/predict/odds/") == 200
    assert await status(client, "/monitoring/drift", shown("any.thing")) == 200


async def test_key_is_taken_from_either_header(serve: Serve) -> None:
    text, key = a_key(Scope.READ)
    client = await serve(api_keys=as_setting(key))
    for headers in (shown(text), {"Authorization": f"Bearer {text}"}, {"authorization": f"bearer  {text} "}):
        assert await status(client, "/predict/odds/", headers) == 200
        assert (await client.head("/predict/odds/", headers=headers)).status == 200


async def test_missing_and_wrong_keys_are_401_and_say_how(serve: Serve) -> None:
    _, key = a_key()
    client = await serve(api_keys=as_setting(key))
    missing = await client.get("/predict/odds/")
    assert (missing.status, (await missing.json())["code"]) == (401, "key-missing")
    assert missing.headers["WWW-Authenticate"] == 'Bearer realm="touchline"'
    for headers in (shown(f"{key.prefix}.wrong"), {"Authorization": "Bearer x"}, shown("")):
        wrong = await client.get("/predict/odds/", headers=headers)
        assert (wrong.status, (await wrong.json())["code"]) == (401, "key-invalid")
        assert wrong.headers["WWW-Authenticate"] == 'Bearer realm="touchline", error="invalid_token"'
    basic = await client.get("/predict/odds/", headers={"Authorization": "Basic eDp5"})
    assert (await basic.json())["code"] == "key-missing"


async def test_missing_scope_is_403_and_named(serve: Serve) -> None:
    text, key = a_key(Scope.READ)
    client = await serve(api_keys=as_setting(key))
    scopes = {
        "/monitoring/arq/queues": "monitor",
        "/monitoring/drift": "monitor",
        "/monitoring/task_status/t": "predict",
    }
    for path, scope in scopes.items():
        answer = await client.get(path, headers=shown(text))
        problem = await answer.json()
        assert (answer.status, problem["code"], problem["scope"]) == (403, "scope-missing", scope)
        assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]
    assert await status(client, "/predict/7", shown(text)) == 403


async def test_key_that_submits_a_task_may_follow_and_cancel_it(serve: Serve, live_settings: Settings) -> None:
    text, key = a_key(Scope.READ, Scope.PREDICT)
    client = await serve(
        api_keys=as_setting(key), redis_url=live_settings.redis_url, queue_name=live_settings.queue_name
    )
    async with client.post("/predict/async/", json={"match_id": FIRST_ID}, headers=shown(text)) as response:
        assert response.status == 202
        location = response.headers["Location"]
    assert await status(client, location, shown(text)) == 200
    async with client.delete(location, headers=shown(text)) as response:
        assert response.status == 204
    assert await status(client, "/monitoring/arq/queues", shown(text)) == 403


async def test_every_guarded_route_asks_for_its_scope_and_no_other_opens_it(serve: Serve) -> None:
    texts = {scope: a_key(scope) for scope in Scope}
    client = await serve(api_keys=as_setting(*(key for _, key in texts.values())))
    for route in ROUTES:
        path = route.path.replace("{match_id}", "1").replace("{task_id}", "t")
        for scope, (text, _) in texts.items():
            answer = await client.request(route.method, path, headers=shown(text))
            assert (answer.status in {401, 403}) == (route.scope not in {None, scope}), (path, scope)


async def test_probes_metrics_and_documents_never_need_a_key(serve: Serve) -> None:
    client = await serve(api_keys=as_setting(a_key()[1]))
    for path in OPEN:
        assert await status(client, path) in {200, 503}, path
        assert await status(client, path, shown("wrong.key")) in {200, 503}, path


async def test_refused_requests_run_no_handler(serve: Serve) -> None:
    """A bad path parameter would be 422; whoever has no key is not told."""
    client = await serve(api_keys=as_setting(a_key()[1]))
    assert await status(client, "/predict/precomputed/abc") == 401
    assert (await client.post("/predict/async/", data=b"x" * 1_000_000)).status == 401


@pytest.mark.timeout(600)
async def test_file_of_keys_is_followed_and_never_opens_the_door_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    client = await serve(api_keys_file=path)
    (first, first_key), (second, second_key) = a_key(Scope.READ), a_key(Scope.READ)
    assert await status(client, "/predict/odds/") == 200
    await asyncio.to_thread(keys.write_keys, path, [first_key, second_key])
    await until(lambda: has_status(client, None, 401))
    assert [await status(client, "/predict/odds/", shown(text)) for text in (first, second)] == [200, 200]
    revoked = first_key.model_copy(update={"revoked_at": datetime.now(UTC)})
    await asyncio.to_thread(keys.write_keys, path, [revoked, second_key])
    await until(lambda: has_status(client, first, 401))
    path.write_text("not keys")
    await asyncio.sleep(1.5)
    assert await status(client, "/predict/odds/", shown(second)) == 200
    path.unlink()
    await asyncio.sleep(1.5)
    assert [await status(client, "/predict/odds/"), await status(client, "/predict/odds/", shown(second))] == [401, 200]


@pytest.mark.timeout(600)
async def test_key_is_good_the_moment_it_is_made(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    (_, old), (text, new) = a_key(Scope.READ), a_key(Scope.READ)
    await asyncio.to_thread(keys.write_keys, path, [old])
    client = await serve(api_keys_file=path)
    await until(lambda: has_status(client, text, 401))
    await asyncio.to_thread(keys.write_keys, path, [old, new])
    assert await status(client, "/predict/odds/", shown(text)) == 200


async def has_status(client: Client, text: str | None, expected: int) -> bool:
    return await status(client, "/predict/odds/", shown(text) if text else None) == expected


async def test_key_ends_at_its_time(serve: Serve) -> None:
    text, key = a_key(Scope.READ, lasts_s=3600)
    client = await serve(api_keys=as_setting(key))
    assert await status(client, "/predict/odds/", shown(text)) == 200
    past = key.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    client.app[appkeys.KEYRING].replace([past])
    assert await status(client, "/predict/odds/", shown(text)) == 401


async def test_listening_ends_with_its_key(serve: Serve) -> None:
    """At the next sign of life; the others listen on."""
    (text, key), (other, other_key) = a_key(Scope.READ), a_key(Scope.READ)
    client = await serve(api_keys=as_setting(key, other_key), event_heartbeat_s=0.1)
    async with listening(client, key=text) as ends, listening(client, key=other) as stays:
        await ends.next_of("snapshot")
        client.app[appkeys.KEYRING].replace([key.model_copy(update={"revoked_at": datetime.now(UTC)}), other_key])
        with pytest.raises(EOFError):
            await ends.next_of("never")
        await stays.next_of("snapshot")
        assert client.app[appkeys.FEED].n_listeners == 1


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two busy cores may keep an answer of Redis waiting for longer than a request would."""
    monkeypatch.setattr("app.auth.rate_limit.ANSWER_TIMEOUT_S", 20.0)


@pytest.mark.usefixtures("patient")
async def test_callers_are_counted_apart_and_told_what_is_left(serve: Serve, live_settings: Settings) -> None:
    (busy, busy_key), (calm, calm_key) = a_key(Scope.READ), a_key(Scope.READ)
    client = await serve(
        api_keys=as_setting(busy_key, calm_key),
        rate_limit_per_minute=5,
        redis_url=live_settings.redis_url,
        queue_name=live_settings.queue_name,
    )
    answers = [await client.get("/predict/odds/", headers=shown(busy)) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert [answer.headers["RateLimit"].split(";")[1] for answer in answers[:5]] == [f"r={n}" for n in (4, 3, 2, 1, 0)]
    assert answers[0].headers["RateLimit-Policy"] == '"caller";q=5;w=60'
    problem = await answers[5].json()
    assert (problem["code"], problem["limit"], problem["window_s"]) == ("rate-limited", 5, 60)
    assert 1 <= int(answers[5].headers["Retry-After"]) <= 12
    assert await status(client, "/predict/odds/", shown(calm)) == 200
    assert await status(client, "/livez") == 200
    assert await status(client, "/predict/odds/", shown("wrong.key")) == 401


@pytest.mark.usefixtures("patient")
async def test_address_is_the_caller_while_there_are_no_keys(serve: Serve, live_settings: Settings) -> None:
    client = await serve(
        rate_limit_per_minute=2, redis_url=live_settings.redis_url, queue_name=live_settings.queue_name
    )
    forged = [{"X-Forwarded-For": f"10.0.0.{n}"} for n in range(3)]
    assert [await status(client, "/predict/odds/", headers) for headers in forged] == [200, 200, 429]


async def test_nobody_is_stopped_because_redis_is_away(serve: Serve) -> None:
    client = await serve(rate_limit_per_minute=1)
    assert [await status(client, "/predict/odds/") for _ in range(3)] == [200] * 3
    rate = client.app[appkeys.RATE_LIMIT]
    assert rate is not None
    assert rate.unchecked == 3


def through(url: str, port: int) -> str:
    """The same address on another port."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()


@pytest.mark.usefixtures("patient")
async def test_slow_redis_counts_all_the_same(redis_url: str, live_settings: Settings) -> None:
    """Half a second away, five times what was once taken for away."""
    async with slow_proxy(urlsplit(redis_url).port or 0, 0.25) as proxy:
        far = live_settings.model_copy(update={"redis_url": SecretStr(through(redis_url, proxy.port))})
        redis = connect(far)
        rate = RateLimit(redis, prefix=live_settings.queue_name, per_minute=5)
        taken = await asyncio.gather(*(rate.acquire("a") for _ in range(12)), return_exceptions=True)
        assert sum(isinstance(each, Quota) for each in taken) == 5
        assert sum(isinstance(each, RateLimited) for each in taken) == 7
        assert rate.unchecked == 0
        await rate.close()
        await disconnect(redis)


@pytest.mark.usefixtures("patient")
async def test_caller_who_goes_on_asking_does_not_wait_for_slow_redis(
    redis_url: str, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch is exchanged in the background: of many requests over three lives of a batch, the first alone waits."""
    monkeypatch.setattr("app.auth.rate_limit.FRESH_S", 0.3)
    async with slow_proxy(urlsplit(redis_url).port or 0, 0.25) as proxy:
        far = live_settings.model_copy(update={"redis_url": SecretStr(through(redis_url, proxy.port))})
        redis = connect(far)
        rate = RateLimit(redis, prefix=live_settings.queue_name, per_minute=60_000)
        n_waited = 0
        for _ in range(60):
            asked = asyncio.create_task(rate.acquire("a"))
            await asyncio.sleep(0.02)
            n_waited += not asked.done()
            assert await asked is not None
        assert n_waited == 1
        await rate.close()
        await disconnect(redis)


@pytest.mark.timeout(600)
async def test_redis_that_hangs_holds_up_nobody_for_long_and_counts_again_when_it_is_back(
    redis_url: str, live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.auth.rate_limit.ANSWER_TIMEOUT_S", 0.5)
    monkeypatch.setattr("app.auth.rate_limit.AGAIN_S", 0.1)
    redis = connect(live_settings)
    await redis.ping()
    rate = RateLimit(redis, prefix=live_settings.queue_name, per_minute=2)
    control = connect(live_settings)
    await control.execute_command("CLIENT", "PAUSE", "3000", "ALL")
    assert [await rate.acquire("a") for _ in range(20)] == [None] * 20  # half a second once, not twenty times
    assert rate.unchecked == 20

    async def counts() -> bool:
        return isinstance(await rate.acquire("b"), Quota)

    await until(counts)
    await rate.close()
    await disconnect(redis)
    await disconnect(control)


@pytest.mark.usefixtures("patient")
async def test_two_processes_share_one_bucket_under_concurrent_requests(live_settings: Settings) -> None:
    """Of 40 tokens, 40 are spent: none twice, none lost, whoever asks."""
    redis = connect(live_settings)
    processes = [RateLimit(redis, prefix=live_settings.queue_name, per_minute=40) for _ in range(2)]
    spent = await asyncio.gather(*(processes[n % 2].acquire("a") for n in range(100)), return_exceptions=True)
    refused = [each for each in spent if isinstance(each, RateLimited)]
    assert (len(spent) - len(refused), sum(each is None for each in spent)) == (40, 0)
    await disconnect(redis)


@pytest.mark.usefixtures("patient")
async def test_large_limit_costs_one_round_trip_a_batch(live_settings: Settings) -> None:
    redis = connect(live_settings)
    rate = RateLimit(redis, prefix=live_settings.queue_name, per_minute=6000)
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] if await rate.acquire("a") else 0
    quotas = [await rate.acquire("a") for _ in range(50)]
    after = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert all(quotas)
    assert after - before < 10  # fifty when each asked; some spare for a second passing and for other tests
    await disconnect(redis)
