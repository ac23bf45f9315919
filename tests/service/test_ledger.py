"""The ledger against a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from app.ledger.chain import PREDICTIONS, Chain, ChainHead
from app.ledger.database import AWAY
from app.ledger.ledger import Ledger, NoLedger
from app.ledger.writer import fetch_head
from app.settings import Settings
from infra.local.children import Child
from infra.local.postgres import Postgres
from tests.support.build_ledger import a_ledger_row


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(touchline_home=tmp_path, database_url=SecretStr(database_url))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[tuple[Postgres, Child]]:
    postgres = Postgres(tmp_path / "pg", fsync=False)
    postgres.prepare()
    child = Child(postgres.command())
    postgres.wait_ready(child)
    yield postgres, child
    child.stop()


async def test_a_recorded_row_is_in_the_database(settings: Settings, database: asyncpg.Connection) -> None:
    row = a_ledger_row()
    async with Ledger.open(settings) as ledger:
        ledger.record(row)
        assert await ledger.database_state() == "connected"
    found = await database.fetchrow("SELECT * FROM prediction_ledger WHERE id = $1", row.id)
    assert tuple(found[name] for name in PREDICTIONS.columns) == row.values()


async def test_a_row_written_twice_is_there_once(settings: Settings, database: asyncpg.Connection) -> None:
    row = a_ledger_row()
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        for _ in range(2):
            ledger.record(row)
            await ledger.flush()
    assert await database.fetchval("SELECT count(*) FROM prediction_ledger WHERE id = $1", row.id) == 1


async def test_closing_lets_the_flusher_end_what_it_has_begun(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg cannot give a connection back whose statement was cancelled while it was being prepared."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow_head(connection: asyncpg.Connection, chain: Chain) -> ChainHead:
        begun.set()
        await connection.execute("SELECT pg_sleep(0.3)")
        ended.set()
        return await fetch_head(connection, chain)

    monkeypatch.setattr("app.ledger.ledger.fetch_head", slow_head)
    async with Ledger.open(settings) as ledger:
        ledger.record(a_ledger_row())
        await begun.wait()
        monkeypatch.setattr("app.ledger.ledger.fetch_head", fetch_head)
    assert ended.is_set()


@pytest.mark.timeout(600)
async def test_rows_wait_on_disk_while_the_database_is_away(
    tmp_path: Path, own_postgres: tuple[Postgres, Child]
) -> None:
    postgres, child = own_postgres
    settings = Settings(touchline_home=tmp_path, database_url=SecretStr(postgres.url))
    child.stop()
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        for n in range(10):
            ledger.record(a_ledger_row(match_id=n))
            with pytest.raises(AWAY):
                await ledger.flush()
        assert await ledger.database_state() == "unreachable"
        assert len(list((tmp_path / "ledger-journal").iterdir())) == 1
    again = Child(postgres.command())
    try:
        postgres.wait_ready(again)
        async with Ledger.open(settings) as ledger:
            assert isinstance(ledger, Ledger)
            assert await ledger.flush() + await _count(postgres.url) >= 10
        assert await _count(postgres.url) == 10
        assert list((tmp_path / "ledger-journal").iterdir()) == []
    finally:
        again.stop()


async def _count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM prediction_ledger"))
    finally:
        await connection.close()


async def test_without_a_database_nothing_is_kept(tmp_path: Path) -> None:
    async with Ledger.open(Settings(touchline_home=tmp_path, database_url=None)) as ledger:
        ledger.record(a_ledger_row())
        assert isinstance(ledger, NoLedger)
        assert await ledger.database_state() == "not_configured"
    assert list(tmp_path.iterdir()) == []
