"""The newest drift report over HTTP, from the artifacts or from a worker's check in Redis."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from app.artifacts.contract import DRIFT, DriftReport
from app.queue.drift_reports import DriftReports
from app.queue.redis_keys import RedisKeys
from app.settings import Settings
from tests.support.build_artifacts import NOW
from tests.support.serving import Client, Serve, json_of


@pytest.fixture
async def with_redis(serve: Serve, live_settings: Settings) -> Client:
    return await serve(redis_url=live_settings.redis_url.get_secret_value(), queue_name=live_settings.queue_name)


@pytest.fixture
def reports(redis: ArqRedis, live_settings: Settings) -> DriftReports:
    return DriftReports(redis, RedisKeys(live_settings.queue_name))


def a_report(artifacts: Path, **changes: object) -> bytes:
    published = DriftReport.model_validate_json((artifacts / DRIFT).read_bytes())
    return published.model_copy(update=changes).model_dump_json().encode()


async def test_a_workers_newer_report_is_served_by_every_process(
    with_redis: Client, reports: DriftReports, artifacts: Path
) -> None:
    newer = a_report(artifacts, computed_at=NOW + timedelta(days=1), n_drifted=3, summary="Moderate: 3 of 6.")
    await reports.publish(newer, b"<p>newer</p>")
    await reports.note("done", "Moderate: 3 of 6.")
    found = await json_of(with_redis, "/monitoring/drift")
    assert (found["origin"], found["n_drifted"], found["summary"]) == ("check", 3, "Moderate: 3 of 6.")
    assert (found["last_check"]["state"], found["last_check"]["age_s"] < 60) == ("done", True)
    async with with_redis.get("/monitoring/drift/report") as response:
        assert await response.text() == "<p>newer</p>"
        assert response.headers["Content-Security-Policy"] == "sandbox allow-scripts"


async def test_an_older_report_of_a_worker_gives_way_to_the_artifacts(
    with_redis: Client, reports: DriftReports, artifacts: Path
) -> None:
    await reports.publish(a_report(artifacts, computed_at=NOW - timedelta(days=1), n_drifted=3), b"<p>older</p>")
    found = await json_of(with_redis, "/monitoring/drift")
    assert (found["origin"], found["n_drifted"], found["last_check"]) == ("artifacts", 0, None)
    async with with_redis.get("/monitoring/drift/report") as response:
        assert "older" not in await response.text()


async def test_why_the_last_check_made_no_report_is_told(with_redis: Client, reports: DriftReports) -> None:
    await reports.note("not_installed", "Evidently is not installed.")
    found = await json_of(with_redis, "/monitoring/drift")
    assert (found["origin"], found["last_check"]["state"]) == ("artifacts", "not_installed")


async def test_a_report_and_a_check_of_an_older_version_are_read_by_their_new_spelling(
    with_redis: Client, reports: DriftReports, artifacts: Path
) -> None:
    report = json.loads(a_report(artifacts, computed_at=NOW + timedelta(days=1)))
    features = [feature | {"state": "could not be compared"} for feature in report["features"]]
    old = report | {"verdict": "no data", "state": "too few rows", "features": features}
    await reports.publish(json.dumps(old).encode(), b"")
    await reports.note("out of memory", "It would have taken more than 4096 MB.")
    drift = await json_of(with_redis, "/monitoring/drift")
    assert (drift["origin"], drift["verdict"], drift["state"]) == ("check", "no_data", "too_few_rows")
    assert {feature["state"] for feature in drift["features"]} == {"failed"}
    assert drift["last_check"]["state"] == "out_of_memory"


async def test_a_report_that_cannot_be_read_is_as_good_as_none(with_redis: Client, reports: DriftReports) -> None:
    await reports.publish(b'{"score": "much"}', b"")
    assert (await json_of(with_redis, "/monitoring/drift"))["origin"] == "artifacts"


async def test_a_report_without_a_page_is_404(
    with_redis: Client, reports: DriftReports, artifacts: Path, redis: ArqRedis, live_settings: Settings
) -> None:
    await reports.publish(a_report(artifacts, computed_at=NOW + timedelta(days=1)), b"")
    await redis.hdel(RedisKeys(live_settings.queue_name).drift, "page")
    async with with_redis.get("/monitoring/drift/report") as response:
        assert (response.status, (await response.json())["code"]) == (404, "report-missing")


async def test_a_workers_report_is_there_before_any_artifacts(
    serve: Serve, live_settings: Settings, reports: DriftReports, artifacts: Path, tmp_path: Path
) -> None:
    await reports.publish(a_report(artifacts), b"")
    client = await serve(
        redis_url=live_settings.redis_url.get_secret_value(),
        queue_name=live_settings.queue_name,
        artifacts_uri=str(tmp_path / "nowhere"),
    )
    assert (await json_of(client, "/monitoring/drift"))["origin"] == "check"
