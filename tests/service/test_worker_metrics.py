"""What the workers count, and how the pool serves it."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import psutil
import pytest

from app.process_pool import receive_state
from app.queue.client import QueueClient
from app.settings import Settings
from infra.local.ports import free_port
from tests.service.test_metrics import check
from tests.support.live import Marked, a_job
from tests.support.serving import until
from worker.batch_worker import BatchWorker
from worker.metrics import PoolMetrics, send_metrics, serve_metrics


def scraped(url: str) -> str:
    """The answer; nothing while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return ""


async def rendered(worker: BatchWorker) -> str:
    """What the pool would serve; it reads files, so in a thread."""
    state = worker.tally.metrics.registry.state()
    return (await asyncio.to_thread(lambda: PoolMetrics([state]).text()))[0].decode()


async def test_batches_waits_and_models_are_counted(queue: QueueClient, worker: BatchWorker, promtool: Path) -> None:
    rows = [np.arange(6, dtype="<f4") + n for n in range(8)]
    jobs = [await a_job(queue, row, match_id=n) for n, row in enumerate(rows)]
    await asyncio.gather(*(queue.predict(job, timeout_s=8) for job in jobs))
    metrics = worker.tally.metrics

    async def is_counted() -> bool:
        return dict(metrics.jobs.state()).get(("done",)) == 8.0

    await until(is_counted)
    text = await rendered(worker)
    assert "worker_batch_jobs_sum 8.0" in text
    assert "worker_queue_wait_seconds_count 8.0" in text
    assert 'worker_models_held{alias="champion",version="1"} 1.0' in text
    assert "worker_registry_unreachable 0.0" in text
    assert await asyncio.to_thread(check, promtool, text) == ""


async def test_failed_tries_and_dead_letters_are_counted(queue: QueueClient, worker: BatchWorker) -> None:
    job = await a_job(queue, np.full(6, Marked.MARK, dtype="<f4"))
    with pytest.raises(Exception, match="ZeroDivisionError"):
        await queue.predict(job, timeout_s=8)
    metrics = worker.tally.metrics
    assert (metrics.retries.total(), metrics.dead.total(), metrics.reclaimed.total()) == (2, 1, 2)
    assert "worker_lease_recoveries_total 0.0" in await rendered(worker)


async def test_process_tells_through_its_pipe_until_nobody_listens(worker: BatchWorker) -> None:
    ours, theirs = Pipe(duplex=False)
    telling = asyncio.create_task(send_metrics(worker.tally.metrics, theirs))

    async def has_told() -> bool:
        state = receive_state(ours)
        return state is not None and "worker_jobs_total" in state

    await until(has_told)
    assert receive_state(ours) is None
    ours.close()
    await asyncio.wait_for(telling, 5)  # the pipe is broken: it ends without a fuss


def test_port_in_use_costs_the_metrics_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert serve_metrics("127.0.0.1", other.getsockname()[1], PoolMetrics) is None


def test_only_metrics_are_served() -> None:
    port = free_port()
    server = serve_metrics("127.0.0.1", port, PoolMetrics)
    assert server is not None
    assert "worker_processes" in scraped(f"http://127.0.0.1:{port}/metrics")
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(f"http://127.0.0.1:{port}/etc"):
        pass
    with refused.value as answer:
        assert (answer.status, answer.headers["Server"].strip()) == (404, "touchline")
    server.shutdown()
    server.server_close()


@pytest.fixture
def pool(registry_settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A pool of two processes, and where it serves its metrics."""
    port = free_port()
    environ = {
        "REDIS_URL": registry_settings.redis_url.get_secret_value(),
        "QUEUE_NAME": registry_settings.queue_name,
        "MODEL_NAME": registry_settings.model_name,
        "MLFLOW_TRACKING_URI": registry_settings.mlflow_tracking_uri,
        "WORKER_METRICS_PORT": str(port),
    }
    command = ["env", *(f"{name}={value}" for name, value in environ.items()), sys.executable, "-m", "worker"]
    process = subprocess.Popen([*command, "--processes", "2"])
    yield process, f"http://127.0.0.1:{port}/metrics"
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@pytest.mark.timeout(600)
def test_pool_serves_all_its_processes_and_goes_on_when_one_dies(
    pool: tuple[subprocess.Popen[bytes], str],
) -> None:
    process, url = pool
    wait_for(url, "worker_processes_ready 2.0")
    assert 'worker_models_held{alias="champion",version="1"} 2.0' in scraped(url)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if is_worker(child)]
    workers[0].kill()
    wait_for(url, "worker_starts_total 3.0")
    wait_for(url, "worker_processes_ready 2.0")


def is_worker(child: psutil.Process) -> bool:
    """One that holds a model, beside the fork server and the resource tracker."""
    return not child.children() and "resource_tracker" not in " ".join(child.cmdline())


def wait_for(url: str, line: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while line not in scraped(url).splitlines():
        assert time.monotonic() < deadline, scraped(url)
        time.sleep(0.2)
