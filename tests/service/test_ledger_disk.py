"""The ledger on a disk that takes no row: all reach the database while that is there, and the loss is told when not."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import structlog
from pydantic import SecretStr

from app import appkeys
from app.ledger.ledger import Ledger
from app.settings import Settings
from tests.support.build_ledger import a_ledger_row
from tests.support.serving import Serve, json_of, until


@asynccontextmanager
async def opened(home: Path, database_url: str) -> AsyncIterator[Ledger]:
    settings = Settings(touchline_home=home, database_url=SecretStr(database_url))
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        yield ledger


async def n_rows(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM prediction_ledger"))
    finally:
        await connection.close()


def block_journal(home: Path) -> Path:
    """A file where the journal's folder should be: no row can be written, whoever runs the test."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "ledger-journal").write_text("in the way")
    return home / "ledger-journal"


async def test_rows_reach_the_database_past_a_disk_that_takes_none(tmp_path: Path, database_url: str) -> None:
    block_journal(tmp_path)
    async with opened(tmp_path, database_url) as ledger:
        assert all(ledger.record(a_ledger_row()) for _ in range(5))
        assert (ledger.rows_waiting, ledger.fault) == (5, "File exists")
        assert ledger.lag_s > 0
        assert await ledger.flush() == 5
        assert (ledger.rows_waiting, ledger.rows_lost, ledger.lag_s) == (0, 0, 0)
    assert await n_rows(database_url) == 5


async def test_rows_go_to_disk_again_when_there_is_room(tmp_path: Path, database_url: str) -> None:
    in_the_way = block_journal(tmp_path)
    async with opened(tmp_path, database_url) as ledger:
        ledger.record(a_ledger_row())
        in_the_way.unlink()
        ledger.record(a_ledger_row())
        assert ledger.fault is None
        assert len(list(in_the_way.iterdir())) == 1
    assert await n_rows(database_url) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device is Linux'")
async def test_a_device_without_room_loses_nothing(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC from the system itself, at every write."""
    async with opened(tmp_path, database_url) as ledger:
        ledger.record(a_ledger_row())
        full = os.open("/dev/full", os.O_WRONLY)
        monkeypatch.setattr(ledger._journal, "_file", full)
        assert all(ledger.record(a_ledger_row()) for _ in range(3))
        assert ledger.fault == "No space left on device"
        await ledger.flush()
        assert ledger.rows_lost == 0
    assert await n_rows(database_url) >= 3


async def test_a_row_is_lost_only_when_memory_is_full_too_and_the_log_names_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the runbook says; and what waits in memory is lost when the process ends."""
    block_journal(tmp_path)
    monkeypatch.setattr("app.ledger.ledger.MEMORY_LIMIT_ROWS", 2)
    with structlog.testing.capture_logs() as lines:
        async with opened(tmp_path, "postgresql://nobody@127.0.0.1:1/nowhere") as ledger:
            assert [ledger.record(a_ledger_row(request_id=f"q{n}")) for n in range(3)] == [True, True, False]
            assert ledger.rows_lost == 1
        assert ledger.rows_lost == 3
    lost = [line for line in lines if line["event"] == "ledger row lost"]
    assert [line["request_id"] for line in lost] == ["q2", "q0", "q1"]
    assert {line["cause"] for line in lost} == {"File exists"}
    assert sum(line["event"] == "ledger.journal_failed" for line in lines) == 1


async def test_a_file_that_cannot_be_read_holds_up_no_other(tmp_path: Path, database_url: str) -> None:
    """A folder with the name of a journal file: reading it fails for root too."""
    journal = tmp_path / "ledger-journal"
    (journal / "broken.jsonl").mkdir(parents=True)
    (journal / "left.jsonl").write_bytes(a_ledger_row().line())
    with structlog.testing.capture_logs() as lines:
        async with opened(tmp_path, database_url) as ledger:
            ledger.record(a_ledger_row())
            await ledger.flush()
            await ledger.flush()
    assert await n_rows(database_url) == 2
    assert [line["file"] for line in lines if line["event"] == "ledger.journal_file_unreadable"] == [
        str(journal / "broken.jsonl")
    ]


async def test_a_rejected_row_that_cannot_be_kept_stays_and_holds_up_no_other(
    tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "ledger-refused.jsonl").mkdir()
    async with opened(tmp_path, database_url) as ledger:
        ledger.record(a_ledger_row(request_id="no\0text"))
        ledger.record(a_ledger_row())
        await ledger.flush()
        assert await n_rows(database_url) == 1
        (tmp_path / "ledger-refused.jsonl").rmdir()
        await ledger.flush()
    assert await n_rows(database_url) == 1
    assert len((tmp_path / "ledger-refused.jsonl").read_text().splitlines()) == 1


async def test_health_degrades_while_rows_wait_in_memory(serve: Serve, tmp_path: Path, database_url: str) -> None:
    in_the_way = block_journal(tmp_path / "home")
    client = await serve(database_url=database_url)
    ledger = client.app[appkeys.LEDGER]  # type: ignore[union-attr]  # it serves an application

    async def is_connected() -> bool:
        return (await json_of(client, "/healthcheck/"))["database"] == "connected"

    await until(is_connected, timeout_s=60)
    health = await json_of(client, "/healthcheck/")
    assert (health["status"], health["journal_fault"]) == ("degraded", "File exists")
    in_the_way.unlink()
    assert ledger.record(a_ledger_row())
    health = await json_of(client, "/healthcheck/")
    assert (health["status"], health["journal_fault"]) == ("ok", None)


READ_ONLY = """
import asyncio, json, sys
from pathlib import Path
from pydantic import SecretStr
from app.ledger.ledger import Ledger
from app.settings import Settings
from app.sql.sandbox import _drop_capabilities, _libc
from tests.support.build_ledger import a_ledger_row

async def main():
    settings = Settings(touchline_home=Path(sys.argv[1]), database_url=SecretStr(sys.argv[2]))
    async with Ledger.open(settings) as ledger:
        kept = [ledger.record(a_ledger_row()) for _ in range(3)]
        fault, flushed = ledger.fault, await ledger.flush()
        print(json.dumps({"kept": kept, "fault": fault, "flushed": flushed, "lost": ledger.rows_lost}))

_drop_capabilities(_libc())
asyncio.run(main())
"""


@pytest.mark.timeout(600)
async def test_a_read_only_home_loses_nothing(tmp_path: Path, database_url: str) -> None:
    """Root, too, is held by the permissions of a folder once it has no capabilities and does not own it."""
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)
    home.chmod(0o555)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-c", READ_ONLY, str(home), database_url), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    (said,) = [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")]
    assert said == {"kept": [True] * 3, "fault": "Permission denied", "flushed": 3, "lost": 0}
    assert await n_rows(database_url) == 3
