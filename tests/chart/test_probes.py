"""What the probes ask is answered by the real processes."""

import asyncio
import socket
import sys
from datetime import UTC, datetime

import aiohttp
import pytest

from app.api.routes import ROUTES
from app.queue.jobs import Heartbeat, WorkerState
from app.queue.redis import connect, disconnect
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import dumps
from app.settings import Settings
from dashboards.server import open_server
from tests.chart.chart import ROOT, Helm

pytestmark = pytest.mark.timeout(600)


def probed(helm: Helm, component: str) -> set[str]:
    """The paths its probes ask."""
    container = helm.render().container(component)
    return {container[key]["httpGet"]["path"].partition("?")[0] for key in container if key.endswith("Probe")}


def test_the_api_has_each_path(helm: Helm) -> None:
    assert probed(helm, "api") <= {route.path for route in ROUTES if route.method == "GET"}


async def test_the_match_page_answers_without_opening_a_session(helm: Helm) -> None:
    """Kubernetes asks every few seconds, and a session outlives its page for a while."""
    async with open_server(Settings(dashboard_port=0)) as server, aiohttp.ClientSession() as client:
        for path in probed(helm, "dashboard"):
            async with client.get(f"http://127.0.0.1:{server.port}{path}") as response:
                assert response.status == 200
        assert not server.get_sessions("/")


async def test_a_worker_is_ready_when_a_beat_of_its_host_says_so(helm: Helm, redis_url: str) -> None:
    settings = Settings(redis_url=redis_url, queue_name="probed")
    assert await probe_worker(helm, settings) == (1, f"no worker of {socket.gethostname()} has been heard of")
    await beat(settings, host="elsewhere", ready=True)
    assert await probe_worker(helm, settings) == (1, f"no worker of {socket.gethostname()} has been heard of")
    await beat(settings, host=socket.gethostname(), ready=False)
    assert await probe_worker(helm, settings) == (1, "the models are still being loaded")
    await beat(settings, host=socket.gethostname(), ready=True)
    assert await probe_worker(helm, settings) == (0, "")


async def test_a_worker_is_not_ready_without_redis(helm: Helm) -> None:
    exit_code, complaint = await probe_worker(helm, Settings(redis_url="redis://:hidden@127.0.0.1:1/0"))
    assert exit_code == 1
    assert complaint.startswith("Redis does not answer")
    assert "hidden" not in complaint


async def probe_worker(helm: Helm, settings: Settings) -> tuple[int | None, str]:
    """The worker's readiness probe as Kubernetes runs it: its exit code and its last words."""
    _python, *arguments = helm.render().container("worker")["readinessProbe"]["exec"]["command"]
    own = {"REDIS_URL": settings.redis_url.get_secret_value(), "QUEUE_NAME": settings.queue_name}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=own, stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate()
    return process.returncode, complaint.decode().strip()


async def beat(settings: Settings, *, host: str, ready: bool) -> None:
    """One beat, as a worker of that host leaves it in Redis."""
    names, now = RedisKeys(settings.queue_name), datetime.now(UTC)
    worker = WorkerState(f"{host}:7", host, 7, now, now, jobs_done=0, jobs_failed=0, memory_mb=1.0, models={})
    redis = connect(settings)
    await redis.set(names.worker(worker.worker_id), dumps(Heartbeat(worker, [], ready, 0.0, {})), ex=60)
    await redis.zadd(names.workers, {worker.worker_id: now.timestamp()})
    await disconnect(redis)
