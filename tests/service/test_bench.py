"""What the benchmarks run on."""

import asyncio
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from app.artifacts.contract import FEATURES, MANIFEST, ODDS, PREDICTIONS, check
from app.queue.redis_keys import RedisKeys
from infra.bench import hops
from infra.bench.clients import measure
from infra.bench.start import Start
from infra.bench.synthetic import make_artifacts
from infra.local.children import Child
from infra.local.redis import Redis


def test_synthetic_artifacts_keep_the_contract_at_the_size_asked_for(tmp_path: Path) -> None:
    folder = make_artifacts(tmp_path / "made", 300, 7)
    assert check(folder) == ()
    features = pq.read_metadata(folder / FEATURES)
    assert (features.num_rows, features.num_columns) == (300, 8)
    statuses = pq.read_table(folder / PREDICTIONS)["status"].value_counts().to_pylist()
    assert {each["values"]: each["counts"] for each in statuses} == {"finished": 270, "upcoming": 30}
    assert 240 < pq.read_metadata(folder / ODDS).num_rows < 300


def test_synthetic_artifacts_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """So that two measurements are of the same thing."""
    first, second, other = [
        (make_artifacts(tmp_path / name, 100, 3, seed) / MANIFEST).read_text()
        for name, seed in (("first", 1), ("second", 1), ("other", 2))
    ]
    assert first == second != other


def test_start_over_its_bounds_breaks_a_promise() -> None:
    """Sizes of which README promises nothing cannot."""
    assert list(Start(100_000, "cold", 2.9, 990, 500).broken_promises()) == []
    assert list(Start(5, "cold", 99, 99_000, 500).broken_promises()) == []
    said = list(Start(1_000_000, "swap", 22, 3501, 500).broken_promises())
    assert said == ["swap with 1,000,000 matches: 3,501 MB at the peak, not 3,500"]
    assert len(list(Start(100_000, "warm", 3.1, 1001, 500).broken_promises())) == 2


@pytest.mark.timeout(600)  # starts a process
def test_bench_names_what_it_can_measure() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "infra.bench", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "live: from question to answer over HTTP" in said


@pytest.fixture
async def port(aiohttp_server: Any) -> int:
    """A service with a large answer, a known one, and none."""

    async def answer(request: web.Request) -> web.Response:
        headers = {"Age": "1"} if request.path == "/known" else {}
        return web.Response(body=b"x" * 200_000, headers=headers, status=404 if request.path == "/none" else 200)

    app = web.Application()
    app.router.add_get("/{path}", answer)
    server = await aiohttp_server(app)
    return int(server.port)


async def test_clients_count_what_they_see(port: int) -> None:
    paths = ["/new", "/known", "/none", "/new"]
    seen = await asyncio.to_thread(measure, port, 4, 0.0, cycle(paths))
    assert (seen.clients, seen.known, seen.failed) == (4, 1, 1)
    assert 0 < seen.p50_ms <= seen.p95_ms <= seen.p99_ms


async def test_clients_ask_again_until_the_time_is_up(port: int) -> None:
    seen = await asyncio.to_thread(measure, port, 2, 0.5, cycle(["/new"]))
    assert seen.per_s * 0.5 > 2


def test_recorder_counts_own_functions_on_every_thread() -> None:
    with hops.CallRecorder() as recorder:
        RedisKeys("before").wake  # noqa: B018  # a call
        recorder.start_round()
        thread = Thread(target=lambda: RedisKeys("thread").done)
        thread.start()
        thread.join()
        cycle([RedisKeys("queue").done])
        calls = recorder.calls()
    assert calls == {("app/queue/redis_keys.py", "RedisKeys.done"): 2}


@pytest.mark.timeout(600)  # a service, a worker and a Redis of their own
def test_hops_of_an_answer_are_those_of_the_api_and_the_worker(tmp_path: Path) -> None:
    """The path of a request alone: a heartbeat, which runs meanwhile, is not on it."""
    redis = Redis(tmp_path / "redis")
    child = Child(redis.command())
    try:
        redis.wait_ready(child)
        live, cold, warm = hops.measure(tmp_path, redis)
    finally:
        child.stop()
    assert {("app/api/live.py", "predict_match"), ("worker/tasks.py", "predict_batch")} <= set(live.functions)
    listing = ("app/api/cards.py", "list_cards")
    assert listing in cold.functions
    assert listing not in warm.functions
    assert not any("heartbeat" in file for file in (*live.files, *cold.files, *warm.files))
    assert 0 < len(warm.functions) < len(cold.functions)
