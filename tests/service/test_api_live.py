"""Live predictions over HTTP: artifacts, API, Redis and a real worker."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis as blocking_redis

from app import appkeys
from app.artifacts.contract import FEATURES, PREDICTIONS
from app.queue.client import QueueClient
from app.schemas import LivePredictionOut, TaskOut
from app.settings import Settings
from infra.local.children import Child, Command
from infra.local.ports import free_port
from infra.local.redis import Redis
from tests.support.build_artifacts import FIRST_ID, NOW, stamp, write_artifacts
from tests.support.live import model_thread, serving
from tests.support.models import FEATURES as NAMES
from tests.support.models import NAME as MODEL
from tests.support.models import TinyRegistry, tiny_booster
from tests.support.serving import NO_REDIS, Client, Serve, json_of, until
from tests.support.waiting import accepts
from worker.batch_worker import BatchWorker
from worker.inference import predict_proba

pytestmark = pytest.mark.timeout(600)  # the first test makes the registry
WITHOUT_FEATURES = FIRST_ID + 59


def as_the_batch_does(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return predict_proba(tiny_booster(), rows)


def no_last_row(table: pa.Table) -> pa.Table:
    return table.slice(0, len(table) - 1)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Artifacts whose predictions the registry's champion made; the last match has no feature row."""
    return write_artifacts(
        tmp_path / "artifacts", feature_names=NAMES, predict=as_the_batch_does, edit={FEATURES: no_last_row}
    )


@pytest.fixture
async def idle(serve: Serve, registry_settings: Settings) -> Client:
    """The API with a queue that no worker serves."""
    return await serve(**live_part(registry_settings))


@pytest.fixture
async def desk(registry_settings: Settings) -> AsyncIterator[BatchWorker]:
    """A worker that loaded champion and candidate from the registry."""
    async with serving(registry_settings) as worker:
        yield worker


@pytest.fixture
async def live(idle: Client, desk: BatchWorker) -> Client:
    """The API with a worker."""
    return idle


def live_part(settings: Settings) -> dict[str, object]:
    """What the API and a worker must agree on."""
    names = ("redis_url", "queue_name", "mlflow_tracking_uri", "model_name")
    return {name: getattr(settings, name) for name in names}


async def problem_of(client: Client, path: str) -> tuple[int, dict[str, Any]]:
    response = await client.get(path)
    return response.status, await response.json()


async def test_live_prediction_is_what_the_batch_wrote(live: Client, artifacts: Path) -> None:
    """To 1e-6, for every match that has features."""
    written = await asyncio.to_thread(pq.read_table, artifacts / PREDICTIONS)
    for row in written.to_pylist()[:-1]:
        found = LivePredictionOut.model_validate(await json_of(live, f"/predict/{row['match_id']}"), strict=False)
        expected = [row["proba_home"], row["proba_draw"], row["proba_away"]]
        assert list(found.probabilities.model_dump().values()) == pytest.approx(expected, abs=1e-6)
        assert found.predicted == ("home", "draw", "away")[row["predicted_class"]]


async def test_live_prediction_says_how_old_everything_behind_it_is(live: Client, registry: TinyRegistry) -> None:
    listed = (await json_of(live, "/predict/odds/"))["items"][0]
    found = LivePredictionOut.model_validate(await json_of(live, f"/predict/{listed['match_id']}"))
    snapshot = live.app[appkeys.SNAPSHOTS].current
    assert snapshot is not None
    assert (found.model.alias, found.model.version, found.snapshot_id) == ("champion", "1", snapshot.id)
    assert found.features_computed_at == snapshot.manifest.features_computed_at
    assert found.odds_captured_at is not None
    assert found.odds_captured_at.isoformat()[:19] == listed["captured_at"][:19]
    assert found.feature_age_s > 0
    assert found.data_until == snapshot.manifest.data_until
    assert found.odds_age_s is not None
    assert found.timings.total_ms is not None
    assert found.timings.total_ms >= found.timings.inference_ms > 0
    assert found.explanation is None


@pytest.mark.parametrize("name", ["alias", "stage"])
async def test_another_alias_is_another_model(live: Client, name: str) -> None:
    """Also by the older name of the parameter."""
    champion = await json_of(live, f"/predict/{FIRST_ID}")
    candidate = await json_of(live, f"/predict/{FIRST_ID}", **{name: "candidate"})
    assert candidate["model"]["alias"] == "candidate"
    assert candidate["probabilities"] != champion["probabilities"]


@pytest.mark.parametrize("name", ["alias", "stage"])
async def test_task_takes_an_alias(live: Client, name: str) -> None:
    response = await live.post("/predict/async/", json={"match_id": FIRST_ID, name: "candidate"})
    location = response.headers["Location"]

    async def is_done() -> bool:
        return bool((await json_of(live, location))["status"] == "done")

    await until(is_done)
    assert (await json_of(live, location))["result"]["model"]["alias"] == "candidate"


async def test_alias_and_stage_may_not_differ(live: Client) -> None:
    both = {"alias": "candidate", "stage": "candidate"}
    assert (await json_of(live, f"/predict/{FIRST_ID}", **both))["model"]["alias"] == "candidate"
    status, body = await problem_of(live, f"/predict/{FIRST_ID}?alias=champion&stage=candidate")
    assert (status, body["code"]) == (422, "invalid-request")
    assert "stage is the older name of alias" in body["detail"]
    async with live.post("/predict/async/", json={"match_id": FIRST_ID} | both | {"alias": "champion"}) as response:
        assert response.status == 422


async def test_openapi_says_that_stage_is_deprecated(idle: Client) -> None:
    document = await json_of(idle, "/openapi.json")
    parameters = {each["name"]: each for each in document["paths"]["/predict/{match_id}"]["get"]["parameters"]}
    assert (parameters["stage"]["deprecated"], "deprecated" in parameters["alias"]) == (True, False)
    body = document["components"]["schemas"]["AsyncPredictIn"]["properties"]
    assert (body["stage"]["deprecated"], "deprecated" in body["alias"]) == (True, False)


async def test_explanation_names_every_feature(live: Client) -> None:
    found = LivePredictionOut.model_validate(await json_of(live, f"/predict/{FIRST_ID}", explain="true"))
    assert found.explanation is not None
    assert {part.feature for part in found.explanation} >= set(NAMES)


async def test_live_prediction_of_unknown_things(live: Client) -> None:
    status, body = await problem_of(live, "/predict/1")
    assert (status, body["code"], body["match_id"]) == (404, "match-not-found", 1)
    status, body = await problem_of(live, f"/predict/{WITHOUT_FEATURES}")
    assert (status, body["code"]) == (409, "features-missing")
    status, body = await problem_of(live, f"/predict/{FIRST_ID}?alias=nobody")
    assert (status, body["code"]) == (404, "model-not-found")
    assert (await live.get("/predict/abc")).status == 422
    assert (await live.get(f"/predict/{FIRST_ID}?alias=No%20Such")).status == 422


async def test_no_worker_is_503(idle: Client) -> None:
    status, body = await problem_of(idle, f"/predict/{FIRST_ID}")
    assert (status, body["code"]) == (503, "no-worker")


async def test_no_redis_is_503_and_reading_goes_on(serve: Serve) -> None:
    client = await serve()
    status, body = await problem_of(client, f"/predict/{FIRST_ID}")
    assert (status, body["code"]) == (503, "queue-unavailable")
    assert (await client.get("/predict/cards/")).status == 200


async def test_slow_worker_is_504_and_its_answer_is_not_lost(
    serve: Serve, registry_settings: Settings, desk: BatchWorker
) -> None:
    """The problem names the task, whose result comes later."""
    live = await serve(**live_part(registry_settings), sync_timeout_s=1)
    model_thread(desk).submit(time.sleep, 1.5)
    status, body = await problem_of(live, f"/predict/{FIRST_ID}")
    assert (status, body["code"]) == (504, "prediction-timeout")

    async def is_done() -> bool:
        return bool((await json_of(live, f"/monitoring/task_status/{body['task_id']}"))["status"] == "done")

    await until(is_done)


async def test_task_submitted_is_done_by_the_worker(live: Client) -> None:
    response = await live.post("/predict/async/", json={"match_id": FIRST_ID})
    submitted = TaskOut.model_validate(await response.json(), strict=False)
    assert (response.status, submitted.status.value) == (202, "queued")
    location = response.headers["Location"]
    assert location.endswith(submitted.task_id)

    async def is_done() -> bool:
        return bool((await json_of(live, location))["status"] == "done")

    await until(is_done)
    task = TaskOut.model_validate(await json_of(live, location), strict=False)
    direct = await json_of(live, f"/predict/{FIRST_ID}")
    assert task.result is not None
    assert task.result.probabilities.model_dump() == direct["probabilities"]
    assert task.result.timings.total_ms is None
    assert task.result.model_dump(mode="json")["data_until"] == direct["data_until"]
    assert direct["data_until"] is not None


async def test_task_of_artifacts_that_are_gone_does_not_borrow_the_age_of_the_new_ones(
    live: Client, artifacts: Path
) -> None:
    location = (await live.post("/predict/async/", json={"match_id": FIRST_ID})).headers["Location"]

    async def is_done() -> bool:
        return bool((await json_of(live, location))["status"] == "done")

    await until(is_done)
    stamp(artifacts, now=NOW + timedelta(days=1))
    await live.app[appkeys.SNAPSHOTS].refresh()
    assert (await json_of(live, location))["result"]["data_until"] is None


async def test_task_waits_for_a_worker_to_come(idle: Client) -> None:
    response = await idle.post("/predict/async/", json={"match_id": FIRST_ID})
    assert response.status == 202
    assert (await json_of(idle, response.headers["Location"]))["status"] == "queued"
    queues = (await json_of(idle, "/monitoring/arq/queues"))["items"]
    assert [queue["queued"] for queue in queues] == [1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"match_id": false}', 422),
        (b'{"match_id": "7"}', 422),
        (b"{}", 422),
        (b'{"match_id": 7, "more": 1}', 422),
        (b"not json", 422),
        (b"[]", 422),
        (b'{"match_id": 7}', 404),
        (b'{"match_id": 7.0}', 404),  # an integer to JSON Schema
        (b'{"match_id": 7.5}', 422),
        (b'{"match_id": 1e300}', 422),
        (b'{"match_id": 9007199254740994.0}', 422),  # past 2**53 a float is not one number
        (b'{"match_id": 7, "stage": 7}', 422),
        (b'{"match_id": 7, "alias": "' + b"x" * 70_000 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_wrong_bodies(idle: Client, body: bytes, status: int) -> None:
    response = await idle.post("/predict/async/", data=body, headers={"Content-Type": "application/json"})
    assert response.status == status
    assert response.content_type == "application/problem+json"


async def test_body_of_another_type_is_415(idle: Client) -> None:
    response = await idle.post("/predict/async/", data=b"match_id=7", headers={"Content-Type": "text/plain"})
    assert response.status == 415


async def test_repeated_question_has_an_age(live: Client) -> None:
    """Each question has an age of its own: another wish or another model is another question."""
    ages = []
    for question in ("", "", "?explain=true", "?alias=candidate", "?stage=candidate"):
        async with live.get(f"/predict/{FIRST_ID}{question}") as response:
            assert response.status == 200
            ages.append(response.headers.get("Age"))
    assert [age is not None for age in ages] == [False, True, False, False, True]
    assert 0 <= int(ages[1] or "") < 60


async def test_waiting_task_is_cancelled(idle: Client) -> None:
    async with idle.post("/predict/async/", json={"match_id": FIRST_ID}) as response:
        where = response.headers["Location"]
    async with idle.delete(where) as response:
        assert (response.status, await response.read()) == (204, b"")
    async with idle.delete(where) as response:
        assert (response.status, (await response.json())["code"]) == (404, "task-not-found")


async def test_done_task_is_not_cancelled(live: Client) -> None:
    task_id = (await json_of(live, f"/predict/{FIRST_ID}"))["task_id"]
    async with live.delete(f"/monitoring/task_status/{task_id}") as response:
        assert (response.status, (await response.json())["code"]) == (409, "task-busy")


@pytest.mark.parametrize("redis_is_up", [True, False])
async def test_refusal_says_when_to_come_back(serve: Serve, registry_settings: Settings, redis_is_up: bool) -> None:
    """No worker, or no Redis."""
    changes = live_part(registry_settings) | ({} if redis_is_up else {"redis_url": NO_REDIS})
    async with (await serve(**changes)).get(f"/predict/{FIRST_ID}") as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1


async def test_question_of_a_client_who_hung_up_is_not_computed(
    artifacts: Path, tmp_path: Path, registry_settings: Settings, desk: BatchWorker
) -> None:
    """The service as it is started, and a real connection that is closed."""
    desk.drain()  # it still beats, and takes no more jobs
    port = free_port()
    env = {name.upper(): str(value) for name, value in live_part(registry_settings).items() if name != "redis_url"}
    env |= {"REDIS_URL": registry_settings.redis_url.get_secret_value(), "ARTIFACTS_URI": str(artifacts)}
    env |= {"TOUCHLINE_HOME": str(tmp_path), "APP_PORT": str(port)}
    child = Child(Command("api", [sys.executable, "-m", "app"], log=tmp_path / "api.log", env=env))
    try:
        async with QueueClient.open(registry_settings) as queue:
            await until(lambda: asyncio.to_thread(accepts, port), timeout_s=60)
            _, writer = await ask_until(queue, port)
            assert await waiting(queue) == 1
            writer.close()
            await until(lambda: has_waiting(queue, 0))
    finally:
        await asyncio.to_thread(child.stop)


async def ask_until(queue: QueueClient, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask until the artifacts are open and the question waits in the queue."""
    async with asyncio.timeout(30):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /predict/{FIRST_ID} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answered = asyncio.create_task(reader.readline())
            while not answered.done():
                if await waiting(queue):
                    answered.cancel()
                    return reader, writer
                await asyncio.sleep(0.02)
            writer.close()


async def waiting(queue: QueueClient) -> int:
    return (await queue.queues())[0].queued


async def has_waiting(queue: QueueClient, count: int) -> bool:
    return await waiting(queue) == count


async def test_unknown_task_is_404(idle: Client) -> None:
    status, body = await problem_of(idle, "/monitoring/task_status/predict:1:none")
    assert (status, body["code"]) == (404, "task-not-found")


async def test_models_and_workers_are_shown(live: Client, registry: TinyRegistry) -> None:
    await until(lambda: shows_both(live))
    models = {model["alias"]: model for model in (await json_of(live, "/predict/model/info"))["items"]}
    assert models["champion"]["n_features"] == len(NAMES)
    assert models["champion"]["metrics"]["log_loss"] == 1.01
    (shown,) = (await json_of(live, "/monitoring/arq/workers"))["items"]
    assert (shown["models"].keys(), shown["refused"]) == ({"champion", "candidate"}, {})

    async def is_ready() -> bool:
        return (await live.get("/readyz")).status == 200

    await until(is_ready)
    ready = await json_of(live, "/readyz")
    assert (ready["ready"], ready["degraded"]) == (True, False)
    text = await (await live.get("/metrics")).text()
    run_id = models["champion"]["run_id"]
    assert f'model_info{{alias="champion",name="{MODEL}",run_id="{run_id}",version="1"}} 1' in text
    assert 'model_registered_at_seconds{alias="champion",version="1"} 1' in text


async def shows_both(live: Client) -> bool:
    """Whether the worker has told of all its models; until then it may have told of the first alone."""
    workers = (await json_of(live, "/monitoring/arq/workers"))["items"]
    return [worker["models"].keys() for worker in workers] == [{"champion", "candidate"}]


async def test_every_answer_enters_the_ledger(
    serve: Serve, registry_settings: Settings, desk: BatchWorker, postgres_url: str
) -> None:
    client = await serve(**live_part(registry_settings), database_url=postgres_url)
    answer = await json_of(client, f"/predict/{FIRST_ID + 3}")
    connection = await asyncpg.connect(postgres_url)

    async def is_written() -> bool:
        if await connection.fetchval("SELECT to_regclass('prediction_ledger')") is None:
            return False
        row = await connection.fetchrow("SELECT * FROM prediction_ledger WHERE task_id = $1", answer["task_id"])
        return row is not None and row["proba_home"] == answer["probabilities"]["home"]

    async def is_connected() -> bool:
        # on a busy machine one look may take longer than the 50 ms that a probe has
        return bool((await json_of(client, "/healthcheck/"))["database"] == "connected")

    await until(is_written)
    await connection.close()
    await until(is_connected)


async def test_redis_that_is_full_is_named(
    artifacts: Path, tmp_path: Path, serve: Serve, registry_settings: Settings
) -> None:
    """In readiness and in a problem: it answers, and takes no writes."""
    redis = Redis(tmp_path / "redis")
    child = Child(redis.command())
    try:
        await asyncio.to_thread(redis.wait_ready, child)
        client = await serve(**live_part(registry_settings) | {"redis_url": redis.url})
        with blocking_redis.Redis.from_url(redis.url) as connection:
            connection.config_set("maxmemory", "1mb")

        async def is_named() -> bool:
            parts = {part["name"]: part for part in (await (await client.get("/readyz")).json())["parts"]}
            return not parts["redis"]["ok"] and "redis-full" in parts["redis"]["detail"]

        await until(is_named)
        status, body = await problem_of(client, f"/predict/{FIRST_ID}")
        assert (status, body["code"], body["cause"]) == (503, "queue-unavailable", "redis-full")
    finally:
        await asyncio.to_thread(child.stop)
