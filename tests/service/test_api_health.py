"""Probes, metrics and descriptions: open to all and never an error of their own."""

from pathlib import Path

import pytest
from yarl import URL

from app.artifacts.contract import DRIFT_HTML
from app.settings import Settings
from tests.support.build_artifacts import stamp
from tests.support.live import MemorySource, serving
from tests.support.serving import Client, Serve, json_of, until


async def test_probes_answer_without_redis_database_or_artifacts(serve: Serve, tmp_path: Path) -> None:
    client = await serve(artifacts_uri=str(tmp_path / "none"))
    assert await json_of(client, "/livez") == {"status": "alive"}
    health = await json_of(client, "/healthcheck/")
    assert (health["status"], health["database"]) == ("ok", "not_configured")
    assert health["memory_mb"] > 10
    ready = await client.get("/readyz")
    body = await ready.json()
    assert (ready.status, body["ready"]) == (503, False)
    assert {part["name"]: part["ok"] for part in body["parts"]} == {
        "snapshot": False,
        "redis": False,
        "workers": False,
        "models": False,
    }
    assert (await client.get("/metrics")).status == 200


async def test_database_that_is_away_degrades_health_within_its_time(serve: Serve) -> None:
    client = await serve(database_url="postgresql://nobody@127.0.0.1:1/none")
    health = await json_of(client, "/healthcheck/")
    assert (health["status"], health["database"]) == ("degraded", "unreachable")


async def test_reads_are_ready_with_artifacts_alone_and_say_what_is_degraded(client: Client) -> None:
    ready = await json_of(client, "/readyz", need="reads")
    assert (ready["ready"], ready["degraded"]) == (True, True)
    assert "60 matches" in ready["parts"][0]["detail"]
    whole = await client.get("/readyz")
    body = await whole.json()
    assert (whole.status, body["ready"]) == (503, False)
    assert [part["name"] for part in body["parts"] if not part["ok"]] == ["redis", "workers", "models"]


async def test_worker_counts_as_ready_when_it_holds_the_champion(
    serve: Serve, live_settings: Settings, shelf_source: MemorySource
) -> None:
    """One that beats with nothing to answer from is alive, and of no use."""
    redis_url = live_settings.redis_url.get_secret_value()
    client = await serve(redis_url=redis_url, queue_name=live_settings.queue_name)
    assert await workers_part(client) == (False, "0 of 0 hold a model as champion")
    settings = live_settings.model_copy(update={"model_aliases": ("candidate",)})
    shelf_source.alias = "candidate"
    async with serving(settings, shelf_source):
        await until(lambda: has_part(client, (False, "0 of 1 hold a model as champion")))
        assert (await client.get("/readyz")).status == 503
    shelf_source.alias = "champion"
    async with serving(live_settings, shelf_source):
        await until(lambda: has_part(client, (True, "1 of 1 hold a model as champion")))


async def test_readiness_names_an_alias_that_the_registry_has_lost(
    serve: Serve, live_settings: Settings, shelf_source: MemorySource
) -> None:
    redis_url = live_settings.redis_url.get_secret_value()
    client = await serve(redis_url=redis_url, queue_name=live_settings.queue_name)

    async def models_part() -> tuple[bool, bool, str]:
        body = await (await client.get("/readyz")).json()
        part = next(part for part in body["parts"] if part["name"] == "models")
        return body["ready"], part["ok"], part["detail"]

    async def says(ready: bool, ok: bool, word: str) -> bool:
        is_ready, is_ok, detail = await models_part()
        return (is_ready, is_ok, word in detail) == (ready, ok, True)

    async with serving(live_settings, shelf_source):
        await until(lambda: says(True, True, "serve what the registry names"))
        shelf_source.version = None
        await until(lambda: says(True, False, "champion: the registry has no alias champion any more; version 1"))
        shelf_source.version = "1"
        await until(lambda: says(True, True, "serve what the registry names"))


async def workers_part(client: Client) -> tuple[bool, str]:
    response = await client.get("/readyz")
    body = await response.json()
    part = body["parts"][2]
    assert (response.status == 200) == body["ready"] == part["ok"]
    return part["ok"], part["detail"]


async def has_part(client: Client, expected: tuple[bool, str]) -> bool:
    return await workers_part(client) == expected


async def test_metrics_know_routes_and_never_paths(client: Client) -> None:
    await client.get("/predict/precomputed/12345")
    await client.get("/no/such/place")
    await client.request("PROPFIND", "/predict/odds/")
    text = await (await client.get("/metrics")).text()
    assert 'http_requests_total{method="GET",route="/predict/precomputed/{match_id}",status="404"} 1' in text
    assert 'http_requests_total{method="GET",route="unmatched",status="404"} 1' in text
    assert 'method="other"' in text
    assert "12345" not in text
    assert "no/such" not in text
    assert "snapshot_age_seconds" in text


async def test_drift_report_as_data_and_as_a_page(client: Client) -> None:
    drift = await json_of(client, "/monitoring/drift")
    assert (drift["verdict"], drift["n_features"]) == ("stable", 6)
    assert drift["age_s"] > 0
    page = await client.get("/monitoring/drift/report")
    assert (page.status, page.content_type) == (200, "text/html")
    assert "sandbox" in page.headers["Content-Security-Policy"]


async def test_drift_page_that_was_not_made_is_404(serve: Serve, artifacts: Path) -> None:
    (artifacts / DRIFT_HTML).unlink()
    stamp(artifacts)
    client = await serve()
    response = await client.get("/monitoring/drift/report")
    assert (response.status, (await response.json())["code"]) == (404, "report-missing")


async def test_docs_need_nothing_from_elsewhere(client: Client) -> None:
    page = await client.get("/docs")
    text = await page.text()
    assert "http://" not in text
    assert "https://" not in text
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "docs.js"):
        assert f"/docs/static/{name}" in text
        assert (await client.get(f"/docs/static/{name}")).status == 200
    assert (await json_of(client, "/openapi.json"))["openapi"] == "3.1.0"


@pytest.mark.parametrize("path", ["/docs/static/../docs.py", "/docs/static/%2e%2e/docs.py", "/docs/static/"])
async def test_static_files_end_at_their_folder(client: Client, path: str) -> None:
    response = await client.get(URL(path, encoded=True))
    assert response.status in {403, 404}
    assert response.content_type == "application/problem+json"
