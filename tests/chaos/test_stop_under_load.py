"""Processes are told to stop while clients ask over HTTP; no client sees an error."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle
from pathlib import Path

import aiohttp
import pytest

from app.queue.client import QueueClient
from app.settings import Settings
from infra.local.children import Child, Command
from infra.local.ports import free_port
from tests.chaos.pools import a_pool, has_workers, was_replaced
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.models import FEATURES, tiny_booster
from tests.support.serving import until
from worker.inference import predict_proba

pytestmark = pytest.mark.timeout(600)  # processes that import MLflow
CLIENTS = 16


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Artifacts with the features of the tiny model."""
    return write_artifacts(
        tmp_path / "artifacts", feature_names=FEATURES, predict=lambda rows: predict_proba(tiny_booster(), rows)
    )


@contextmanager
def an_api(settings: Settings, artifacts: Path, home: Path) -> Iterator[tuple[str, Child]]:
    """A process of the API; its address."""
    port = free_port()
    env = {
        "APP_PORT": str(port),
        "TOUCHLINE_HOME": str(home),
        "ARTIFACTS_URI": str(artifacts),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "QUEUE_NAME": settings.queue_name,
        "MODEL_NAME": settings.model_name,
        # every question is computed anew
        "RESULT_TTL_S": "1",
    }
    child = Child(Command(f"api {port}", [sys.executable, "-m", "app"], log=home.with_suffix(".log"), env=env))
    try:
        yield f"http://127.0.0.1:{port}", child
    finally:
        child.stop()


class Crowd:
    """Clients that ask one address after another, as behind a balancer: one that lets nobody in is left out."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._is_over = False
        self.seen: Counter[int | str] = Counter()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask for as long as the context lasts; each question is asked to its end."""
        async with aiohttp.ClientSession() as session:
            asking = [asyncio.create_task(self._ask(session, number)) for number in range(CLIENTS)]
            try:
                yield
            finally:
                self._is_over = True
                await asyncio.gather(*asking)

    async def more(self, n: int) -> None:
        """Until so many more answers have come."""
        wanted = self.seen.total() + n

        async def have_come() -> bool:
            return self.seen.total() >= wanted

        await until(have_come, timeout_s=60)

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        for n in cycle(range(50)):
            if self._is_over:
                break
            self.seen[await self._answer(session, f"/predict/{FIRST_ID + (n + number) % 50}", n)] += 1

    async def _answer(self, session: aiohttp.ClientSession, path: str, turn: int) -> int | str:
        first = turn % len(self._urls)
        for url in self._urls[first:] + self._urls[:first]:
            try:
                async with session.get(url + path) as response:
                    await response.read()
                    return response.status
            except aiohttp.ClientConnectorError:
                continue  # it listens no more, as a probe would have told the balancer
            except aiohttp.ClientError as error:
                return type(error).__name__
        return "nobody listens"


async def test_worker_told_to_stop_fails_no_client(
    queue: QueueClient, pool: Child, settings: Settings, artifacts: Path, tmp_path: Path
) -> None:
    with an_api(settings, artifacts, tmp_path / "home") as (url, _):
        await until(lambda: is_ready(url), timeout_s=60)
        crowd = Crowd([url])
        async with crowd.asking():
            await crowd.more(200)
            stopped = (await queue.workers())[0].pid
            os.kill(stopped, signal.SIGTERM)
            await until(lambda: was_replaced(queue, stopped), timeout_s=60)
            await crowd.more(200)
    assert set(crowd.seen) == {200}


async def test_pool_told_to_stop_fails_no_client_while_another_serves(
    queue: QueueClient, pool: Child, settings: Settings, artifacts: Path, tmp_path: Path
) -> None:
    """As when a deployment replaces one by the next."""
    with an_api(settings, artifacts, tmp_path / "home") as (url, _):
        await until(lambda: is_ready(url), timeout_s=60)
        crowd = Crowd([url])
        async with a_pool(settings, tmp_path / "next.log"):
            await until(lambda: has_workers(queue, 4), timeout_s=90)
            async with crowd.asking():
                await crowd.more(200)
                os.kill(pool.pid, signal.SIGTERM)
                await asyncio.to_thread(pool.wait, 40)
                assert pool.exit_code == 0
                await crowd.more(200)
    assert set(crowd.seen) == {200}


async def test_api_told_to_stop_answers_all_it_has_let_in(
    pool: Child, settings: Settings, artifacts: Path, tmp_path: Path
) -> None:
    with (
        an_api(settings, artifacts, tmp_path / "one") as (one, stopped),
        an_api(settings, artifacts, tmp_path / "other") as (other, _),
    ):
        for url in (one, other):
            await until(lambda url=url: is_ready(url), timeout_s=60)  # type: ignore[misc]
        crowd = Crowd([one, other])
        async with crowd.asking():
            await crowd.more(400)
            os.kill(stopped.pid, signal.SIGTERM)
            await asyncio.to_thread(stopped.wait, 40)
            assert stopped.exit_code == 0
            await crowd.more(400)
    assert set(crowd.seen) == {200}


async def is_ready(url: str) -> bool:
    """Whether an API has a snapshot and a worker."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/predict/{FIRST_ID}") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
