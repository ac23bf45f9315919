"""What a scrape says, as Prometheus reads it."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest
from yarl import URL

from app import appkeys
from app.artifacts.contract import DRIFT
from app.settings import Settings
from app.telemetry.api_metrics import REQUEST_BOUNDS_S, Metrics
from tests.support.build_artifacts import stamp
from tests.support.live import MemorySource, serving
from tests.support.serving import Client, Serve, until

NINE = [
    "http_requests_total",
    "http_request_duration_seconds",
    "prediction_requests_total",
    "prediction_duration_seconds",
    "inference_duration_seconds",
    "prediction_confidence",
    "model_info",
    "model_registered_at_seconds",
    "model_feature_drift_score",
]


async def scraped(client: Client) -> str:
    response = await client.get("/metrics")
    assert response.status == 200
    return await response.text()


async def says(client: Client, line: str) -> bool:
    return line in await scraped(client)


def series(text: str) -> set[str]:
    """Names with labels, without values."""
    return {line.rpartition(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def check(promtool: Path, text: str) -> str:
    """What promtool has to say against it."""
    answer = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    return answer.stdout + answer.stderr + (f"exit code {answer.returncode}" if answer.returncode else "")


async def test_the_nine_of_the_reference_are_there_from_the_start(client: Client) -> None:
    text = await scraped(client)
    for name in NINE:
        assert f"# TYPE {name} " in text


def test_bounds_hold_the_promises() -> None:
    assert {0.05, 0.2} <= set(REQUEST_BOUNDS_S)
    assert list(REQUEST_BOUNDS_S) == sorted(REQUEST_BOUNDS_S)


@pytest.mark.timeout(600)
async def test_promtool_finds_no_fault(
    serve: Serve, live_settings: Settings, shelf_source: MemorySource, promtool: Path, database_url: str
) -> None:
    client = await serve(
        redis_url=live_settings.redis_url, queue_name=live_settings.queue_name, database_url=database_url
    )
    async with serving(live_settings, shelf_source):

        async def is_whole() -> bool:
            return "model_info{" in await scraped(client)

        await until(is_whole)
        for path in ("/predict/odds/", "/predict/7", "/nowhere"):
            await client.get(path)
        text = await scraped(client)
    assert await asyncio.to_thread(check, promtool, text) == ""
    assert {"workers_alive", "workers_verified", "queue_oldest_job_age_seconds", "queue_dead_letters"} <= series(text)
    assert {"snapshot_age_seconds", "odds_age_seconds", "lake_queries_waiting", "ledger_lag_seconds"} <= series(text)
    assert "workers_verified 1.0" in text
    assert 'model_alias_held{alias="champion"} 1' in text
    processes = {line.partition("{")[2] for line in series(text) if line.startswith("clock_skew_seconds{")}
    assert len(processes) == 2
    assert 'process="api"}' in processes


HOSTILE = ['a"} 1\nforged_total{x="', "back\\slash", "nul\x00", "%0aforged_total 1", "é\udcff", "{match_id}", "..%2f.."]


@pytest.mark.parametrize("word", HOSTILE)
async def test_hostile_words_neither_break_nor_forge_a_scrape(client: Client, promtool: Path, word: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in word.encode(errors="surrogateescape"))
    for path in (f"/{quoted}", f"/predict/{quoted}", f"/predict/7?stage={quoted}", f"/predict/odds/?region={quoted}"):
        await client.get(URL(path, encoded=True))
    await client.request("FORGED", "/livez", headers={"User-Agent": "forged_total 1", "X-Request-ID": "forged_total"})
    text = await scraped(client)
    assert "forged" not in text.lower()
    assert await asyncio.to_thread(check, promtool, text) == ""


@pytest.mark.timeout(600)
async def test_ten_thousand_paths_make_a_handful_of_series(client: Client) -> None:
    """Under a common prefix and not: neither the path nor the number of tries shows."""
    # the series of a new snapshot come when it has been measured
    await until(lambda: says(client, "snapshot_swaps_total 1.0"))
    before = series(await scraped(client))
    for start in range(0, 10_000, 100):
        paths = (f"/{n}/{n}" if n % 2 else f"/predict/precomputed/{n}x" for n in range(start, start + 100))
        await asyncio.gather(*(client.get(path) for path in paths))
    text = await scraped(client)
    assert len(series(text) - before) < 60
    assert re.search(r'http_requests_total{method="GET",route="unmatched",status="404"} 5000', text)


async def test_drift_is_there_without_anybody_asking_and_follows_the_artifacts(client: Client, artifacts: Path) -> None:
    await until(lambda: says(client, "model_feature_drift_score 0.0"))
    report = artifacts / DRIFT

    def drift_more() -> None:
        report.write_text(re.sub(r'"score": ?[0-9.]+', '"score": 0.5', report.read_text()))
        stamp(artifacts)

    await asyncio.to_thread(drift_more)
    await client.app[appkeys.SNAPSHOTS].refresh()
    await until(lambda: says(client, "model_feature_drift_score 0.5"))
    await until(lambda: says(client, "snapshot_swaps_total 2.0"))


async def test_looks_for_rendered_answers_are_counted(client: Client) -> None:
    for _ in range(3):
        await client.get("/predict/odds/")
    text = await scraped(client)
    assert 'rendered_lookups_total{result="miss"} 1.0' in text
    assert 'rendered_lookups_total{result="hit"} 2.0' in text


def test_counts_go_on_across_snapshots() -> None:
    artifacts = Metrics().artifacts
    artifacts.follow_rendered("a", 5, 2)
    artifacts.follow_rendered("a", 7, 2)
    artifacts.follow_rendered("b", 1, 1)
    assert dict(artifacts.response_cache.state()) == {("hit",): 8.0, ("miss",): 3.0}
