"""Answers that no request waits for enter the ledger: of tasks, polled or not, and of questions that ended in 504."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import numpy as np
import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr

from app.background.ledger_sync import LateResultRecorder
from app.ledger.chain import PREDICTIONS
from app.ledger.ledger import Ledger
from app.ledger.rows import PredictionRecord
from app.ledger.verify import verify
from app.queue import redis_keys
from app.queue.client import QueueClient
from app.queue.pending_results import PendingResults
from app.settings import Settings
from tests.service.test_api_live import artifacts, desk, live_part  # noqa: F401  # fixtures
from tests.support.build_artifacts import FIRST_ID
from tests.support.live import a_job, model_thread
from tests.support.models import FEATURES
from tests.support.serving import Client, Serve, json_of, until
from worker.batch_worker import BatchWorker

pytestmark = pytest.mark.timeout(600)  # the first test makes the registry
TRACE = "0af7651916cd43dd8448eb211c80319c"
QUESTION = PredictionRecord(
    asked_at=datetime(2026, 8, 1, 12, tzinfo=UTC),
    match_id=7,
    snapshot_id="s1",
    odds_home=2.1,
    odds_draw=None,
    odds_away=3.5,
    odds_captured_at=datetime(2026, 8, 1, 11, tzinfo=UTC),
    request_id="q1",
    trace_id=TRACE,
    id=UUID(int=7),
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def live(serve: Serve, registry_settings: Settings, desk: BatchWorker, database_url: str) -> Client:  # noqa: F811
    """The API with a worker and a ledger."""
    return await serve(**live_part(registry_settings), database_url=database_url)


async def rows_of(database: asyncpg.Connection, task_id: str) -> list[asyncpg.Record]:
    if await database.fetchval("SELECT to_regclass('prediction_ledger')") is None:
        return []
    return list(await database.fetch("SELECT * FROM prediction_ledger WHERE task_id = $1", task_id))


async def row_of(database: asyncpg.Connection, task_id: str) -> asyncpg.Record:
    """The one row of a task, once it is there."""
    found: list[asyncpg.Record] = []

    async def is_there() -> bool:
        found[:] = await rows_of(database, task_id)
        return bool(found)

    await until(is_there, timeout_s=60)
    (row,) = found
    return row


async def test_task_that_nobody_polls_is_in_the_ledger(live: Client, database: asyncpg.Connection) -> None:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "mine"}
    async with live.post("/predict/async/", json={"match_id": FIRST_ID + 3}, headers=headers) as response:
        task_id = (await response.json())["task_id"]
    row = await row_of(database, task_id)
    (card,) = [each for each in (await json_of(live, "/predict/cards/"))["items"] if each["match_id"] == FIRST_ID + 3]
    direct = await json_of(live, f"/predict/{FIRST_ID + 3}")
    assert (row["match_id"], row["request_id"], row["trace_id"]) == (FIRST_ID + 3, "mine", TRACE)
    assert [row[f"proba_{side}"] for side in direct["probabilities"]] == list(direct["probabilities"].values())
    assert [row[f"odds_{side}"] for side in card["money"]["odds"]] == list(card["money"]["odds"].values())
    assert (row["model_version"], row["snapshot_id"]) == (direct["model"]["version"], direct["snapshot_id"])
    assert 0 <= row["latency_ms"] < 60_000


async def test_answer_that_came_after_504_is_in_the_ledger(
    serve: Serve,
    registry_settings: Settings,
    desk: BatchWorker,  # noqa: F811
    database: asyncpg.Connection,
    database_url: str,
) -> None:
    live = await serve(**live_part(registry_settings), database_url=database_url, sync_timeout_s=1)
    model_thread(desk).submit(time.sleep, 1.5)
    async with live.get(f"/predict/{FIRST_ID + 4}") as response:
        problem = await response.json()
        assert (response.status, problem["code"]) == (504, "prediction-timeout")
    row = await row_of(database, problem["task_id"])
    assert row["latency_ms"] > 1000
    assert (await verify(database, PREDICTIONS)).fault is None


class Asked:
    """A task in a real queue, a worker, a ledger, and the notes between them."""

    def __init__(self, settings: Settings, redis: ArqRedis, queue: QueueClient, ledger: Ledger) -> None:
        self.unheard = PendingResults(redis, redis_keys.RedisKeys(settings.queue_name))
        self.hearing = LateResultRecorder(self.unheard, ledger)
        self.ledger = ledger
        self._redis = redis
        self._name = redis_keys.RedisKeys(settings.queue_name).pending_results
        self._queue = queue

    async def answered(self) -> str:
        """A task that has been answered, and that is noted."""
        job = await a_job(self._queue, np.zeros(len(FEATURES), "<f4"))
        task_id = (await self._queue.predict(job, timeout_s=20)).task_id
        await self.unheard.note(task_id, QUESTION.encode())
        return task_id

    async def n_notes(self) -> int:
        return int(await self._redis.zcard(self._name))

    async def make_due(self) -> None:
        """As if the time until the next look had passed."""
        for note in await self._redis.zrange(self._name, 0, -1):
            await self._redis.zadd(self._name, {note: 0})


@pytest.fixture
async def asked(
    live_settings: Settings,
    redis: ArqRedis,
    queue: QueueClient,
    worker: BatchWorker,
    database_url: str,
    tmp_path: Path,
) -> AsyncIterator[Asked]:
    changes = {"touchline_home": tmp_path, "database_url": SecretStr(database_url)}
    async with Ledger.open(live_settings.model_copy(update=changes)) as ledger:
        assert isinstance(ledger, Ledger)
        yield Asked(live_settings, redis, queue, ledger)


async def test_question_keeps_its_row_whoever_looks_and_how_often(asked: Asked, database: asyncpg.Connection) -> None:
    """Also when a process is killed after it has written and before it has dropped the note."""
    task_id = await asked.answered()
    (heard,) = await asked.unheard.look()
    assert await asked.unheard.look() == []  # it is somebody's for a while
    assert heard.result is not None
    asked.ledger.record(QUESTION.answered_later(task_id, heard.result))
    await asked.ledger.flush()
    await asked.make_due()
    assert await asked.hearing.step()
    await asked.ledger.flush()
    assert [row["id"] for row in await rows_of(database, task_id)] == [QUESTION.id]
    assert await asked.n_notes() == 0


async def test_note_stays_while_the_journal_has_no_room(
    asked: Asked, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await asked.answered()
    with monkeypatch.context() as full:
        full.setattr(asked.ledger._journal, "_limit_bytes", 10)
        assert not await asked.hearing.step()
    assert await asked.n_notes() == 1
    await asked.make_due()
    assert await asked.hearing.step()
    await asked.ledger.flush()
    assert len(await rows_of(database, task_id)) == 1


async def test_note_of_a_task_that_is_gone_is_dropped(asked: Asked) -> None:
    await asked.unheard.note("predict:7:gone", QUESTION.encode())
    assert await asked.hearing.step()
    assert await asked.n_notes() == 0


async def test_note_that_cannot_be_read_holds_up_no_other(asked: Asked, database: asyncpg.Connection) -> None:
    task_id = await asked.answered()
    await asked.unheard.note(task_id, b'{"match_id": 1}')
    assert await asked.hearing.step()
    await asked.ledger.flush()
    assert len(await rows_of(database, task_id)) == 1
    assert await asked.n_notes() == 0


async def test_notes_are_bounded(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_keys, "PENDING_RESULTS_MAX", 2)
    for n in range(4):
        await asked.unheard.note(f"t{n}", QUESTION.encode())
    assert await asked.n_notes() == 2


def test_question_survives_its_writing() -> None:
    assert PredictionRecord.decode(QUESTION.encode()) == QUESTION
    for broken in (b"{}", b"[]", b"7", b"{", b'{"id": 7}'):
        with pytest.raises(ValueError):  # noqa: PT011  # whatever is wrong with it
            PredictionRecord.decode(broken)
