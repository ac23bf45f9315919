"""Several API processes on one port: supervised together, counted together, and what is shared stays shared."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import aiohttp
import psutil
import pytest

from app.api_pool import ApiPool
from app.settings import Settings
from app.telemetry.api_metrics import Metrics
from infra.local.children import Child, Command
from infra.local.ports import free_port
from tests.support.build_artifacts import write_artifacts
from tests.support.serving import NO_REDIS, until
from tests.support.storm import publish

pytestmark = pytest.mark.timeout(600)  # processes that import everything
N = 2


class Pool:
    """A running supervisor and its processes."""

    def __init__(self, child: Child, url: str) -> None:
        self.child = child
        self.url = url

    def workers(self) -> list[psutil.Process]:
        """The processes that answer, children of the fork server."""
        children = psutil.Process(self.child.pid).children()
        servers = [child for child in children if "forkserver" in " ".join(child.cmdline())]
        return [worker for server in servers for worker in server.children()]

    async def ask(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text over a connection of its own, so that the kernel chooses a process anew."""
        async with aiohttp.ClientSession(self.url) as session, session.get(path, headers=headers) as response:
            return response.status, await response.text()

    async def counted(self, route: str) -> float:
        """How many requests for a route all processes have answered, as one of them tells."""
        _, text = await self.ask("/metrics")
        lines = [line for line in text.splitlines() if line.startswith("http_requests_total{") and f'"{route}"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def is_up(self) -> bool:
        """Whether all processes listen."""
        workers = await asyncio.to_thread(self.workers)
        return len(workers) == N and all([await asyncio.to_thread(listens, worker) for worker in workers])


def listens(process: psutil.Process) -> bool:
    return any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))


@asynccontextmanager
async def a_pool(home: Path, artifacts: Path, **environ: str) -> AsyncIterator[Pool]:
    port = free_port()
    settings = {
        "APP_PORT": str(port),
        "APP_PROCESSES": str(N),
        "ARTIFACTS_URI": str(artifacts),
        "TOUCHLINE_HOME": str(home),
        "REDIS_URL": NO_REDIS,
        "ARTIFACT_POLL_S": "0.2",
    }
    command = Command("api", [sys.executable, "-m", "app"], log=home / "api.log", env=settings | environ)
    child = await asyncio.to_thread(Child, command)
    pool = Pool(child, f"http://127.0.0.1:{port}")
    try:
        await until(lambda: is_up(pool), timeout_s=120)
        yield pool
    finally:
        await asyncio.to_thread(child.stop)


async def is_up(pool: Pool) -> bool:
    assert pool.child.exit_code is None, pool.child.log_tail()
    return await pool.is_up()


async def soon(check: Callable[[], Awaitable[bool]]) -> None:
    await until(check, timeout_s=60)


async def test_pool_counts_together_survives_a_kill_tells_all_and_stops_in_order(tmp_path: Path) -> None:
    """One life of a pool, because it takes seconds to start."""
    folder = await asyncio.to_thread(write_artifacts, tmp_path / "artifacts")
    async with a_pool(tmp_path, folder) as pool:
        await counts_are_those_of_all_processes_and_never_fall(pool)
        await every_listener_hears_of_new_artifacts(pool, folder)
        await stop_answers_what_it_has_and_leaves_nothing(pool)


async def counts_are_those_of_all_processes_and_never_fall(pool: Pool) -> None:
    for _ in range(40):
        assert (await pool.ask("/predict/facets/"))[0] == 200  # from the first: who listens has artifacts

    async def all_told() -> bool:
        return all([await pool.counted("/predict/facets/") == 40 for _ in range(10)])

    await soon(all_told)  # each process hears of the others once a second
    victim = (await asyncio.to_thread(pool.workers))[0]
    victim.kill()
    await asyncio.to_thread(psutil.wait_procs, [victim], 10)
    await soon(pool.is_up)
    await soon(all_told)


async def every_listener_hears_of_new_artifacts(pool: Pool, folder: Path) -> None:
    """Whichever process it has."""

    async def first_swap(session: aiohttp.ClientSession) -> str:
        async with session.get("/events") as response:
            names = [line async for line in swaps(response)]
        return names[1]  # the first is the present state

    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(pool.url, connector=connector) as session:
        listening = [asyncio.create_task(first_swap(session)) for _ in range(8)]
        await soon(lambda: are_listening(pool, 8))
        newer = await asyncio.to_thread(write_artifacts, folder.with_name("newer"), seed=5)
        await asyncio.to_thread(publish, newer, folder, 5)
        heard = await asyncio.wait_for(asyncio.gather(*listening), 120)
    assert len(set(heard)) == 1


async def swaps(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """The snapshots of the first two events about one."""
    n_seen = 0
    async for line in response.content:
        if line.startswith(b"data:") and "built_at" in (event := json.loads(line[5:])):
            yield event["id"]
            n_seen += 1
            if n_seen == 2:
                return


async def are_listening(pool: Pool, n: int) -> bool:
    _, text = await pool.ask("/metrics")
    return f"event_listeners {n}.0" in text


async def stop_answers_what_it_has_and_leaves_nothing(pool: Pool) -> None:
    family = await asyncio.to_thread(psutil.Process(pool.child.pid).children, recursive=True)
    asking = [asyncio.create_task(pool.ask("/predict/cards/")) for _ in range(20)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(pool.child.stop)
    assert pool.child.exit_code == 0
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, tuple) and answer[0] != 200] == []
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 30)
    assert not alive


async def test_rate_limit_is_one_and_a_killed_supervisor_leaves_no_process(tmp_path: Path, redis_url: str) -> None:
    folder = await asyncio.to_thread(write_artifacts, tmp_path / "artifacts")
    limit = {"REDIS_URL": redis_url, "RATE_LIMIT_PER_MINUTE": "60", "QUEUE_NAME": f"test:{tmp_path.name}"}
    async with a_pool(tmp_path, folder, **limit) as pool:
        began = monotonic()
        statuses = [(await pool.ask("/predict/facets/"))[0] for _ in range(150)]
        refilled = monotonic() - began  # one a second
        assert 60 <= statuses.count(200) <= 62 + refilled
        assert statuses.count(429) == 150 - statuses.count(200)
        family = await asyncio.to_thread(psutil.Process(pool.child.pid).children, recursive=True)
        psutil.Process(pool.child.pid).kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, 60)
        assert not alive


def test_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    """Shared ports would let two services answer by turns."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        port = taken.getsockname()[1]
        ended = start_and_end(tmp_path, APP_PORT=str(port))
    assert ended.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in ended.stderr
    assert "APP_PORT" in start_and_end(tmp_path, APP_PORT="0").stderr


def start_and_end(home: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    names = {"APP_PROCESSES": "2", "TOUCHLINE_HOME": str(home)} | environ
    command = ["env", *(f"{name}={value}" for name, value in names.items()), sys.executable, "-m", "app"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_gauges_add_up_or_are_the_greatest_or_stay_ones_own() -> None:
    mine, other = Metrics(), Metrics()
    for metrics, listeners, age, bets in ((mine, 3, 10.0, 0.1), (other, 4, 30.0, 0.1)):
        metrics.listeners.set(listeners)
        metrics.artifacts.age.set(age)
        metrics.scores.set_bets({"roi": bets})
        metrics.count_request("/predict/cards/", "GET", 200, 0.01)
    text = mine.text(other.registry.state())[0].decode()
    lines = set(text.splitlines())
    assert {"event_listeners 7.0", "snapshot_age_seconds 30.0"} <= lines
    assert 'value_bets{figure="roi"} 0.1' in lines
    requests = [line for line in lines if line.startswith("http_requests_total{")]
    assert [line.rsplit(" ", 1)[1] for line in requests] == ["2.0"]
    assert next(line for line in lines if line.startswith("touchline_info")).endswith("} 1.0")
    alone = mine.text()[0].decode().splitlines()
    assert "event_listeners 3.0" in alone


def test_sum_of_the_ended_keeps_counts_and_no_gauges(tmp_path: Path) -> None:
    one = Metrics()
    one.listeners.set(3)
    one.count_request("/predict/cards/", "GET", 200, 0.01)
    total = ApiPool(Settings(touchline_home=tmp_path)).sum_ended([one.registry.state(), one.registry.state()])
    assert sum(value for _, value in total["http_requests_total"]) == 2
    assert total["event_listeners"] == []
