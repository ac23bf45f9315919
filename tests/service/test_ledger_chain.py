"""The chain in a real PostgreSQL: what is edited, missing or moved is found, whoever wrote and whatever was refused."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from pydantic import SecretStr

from app.ledger import migrations
from app.ledger.chain import CHAINS, GENESIS, PREDICTIONS, ChainHead
from app.ledger.ledger import Ledger
from app.ledger.rows import LedgerRow
from app.ledger.verify import ChainVerdict, verify
from app.settings import Settings
from tests.support.build_ledger import a_ledger_row, a_shadow_row

N = 10
DIFFERING = "SELECT count(*) FROM prediction_ledger r WHERE row_hash <> prediction_ledger_hash(prev_hash, seq, r)"
SIGNED_OFF = "ALTER TABLE prediction_ledger DISABLE TRIGGER append_only; "


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(touchline_home=tmp_path, database_url=SecretStr(database_url))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def chained(settings: Settings, database: asyncpg.Connection) -> asyncpg.Connection:
    """A database with N rows in the ledger."""
    await write(settings, [a_ledger_row(match_id=n) for n in range(N)])
    return database


async def write(settings: Settings, rows: list[LedgerRow]) -> None:
    async with Ledger.open(settings) as ledger:
        for row in rows:
            ledger.record(row)


async def fault(database: asyncpg.Connection, *expected: ChainHead) -> str | None:
    return (await verify(database, PREDICTIONS, expected)).fault


async def test_untouched_rows_hold(chained: asyncpg.Connection) -> None:
    verdict = await verify(chained, PREDICTIONS)
    assert (verdict.fault, verdict.rows, verdict.head.seq) == (None, N, N)


async def test_an_empty_ledger_holds(settings: Settings, database: asyncpg.Connection) -> None:
    await write(settings, [])
    for chain in CHAINS:
        assert await verify(database, chain) == ChainVerdict(chain.table, 0, GENESIS)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("proba_home", "proba_home + 1e-15"),
        ("odds_draw", "3.4"),
        ("odds_home", "NULL"),
        ("model_version", "'2'"),
        ("answered_at", "answered_at - interval '1 microsecond'"),
        ("row_hash", "sha256('')"),
        ("latency_ms", "'NaN'"),
        ("trace_id", "NULL"),
    ],
)
async def test_an_edited_row_is_named(chained: asyncpg.Connection, column: str, value: str) -> None:
    await chained.execute(f"{SIGNED_OFF} UPDATE prediction_ledger SET {column} = {value} WHERE seq = 4")
    found = await fault(chained)
    assert found is not None
    assert found.startswith("row 4 (")
    assert "was edited" in found


async def test_a_missing_row_is_named(chained: asyncpg.Connection) -> None:
    await chained.execute(f"{SIGNED_OFF} DELETE FROM prediction_ledger WHERE seq = 6")
    found = await fault(chained)
    assert found is not None
    assert found.startswith("row 6 is missing")


async def test_a_gap_closed_by_renumbering_is_found(chained: asyncpg.Connection) -> None:
    await chained.execute(
        f"{SIGNED_OFF} DELETE FROM prediction_ledger WHERE seq = 6;"
        "UPDATE prediction_ledger SET seq = seq - 100 WHERE seq > 6;"
        "UPDATE prediction_ledger SET seq = seq + 99 WHERE seq < 0"
    )
    found = await fault(chained)
    assert found is not None
    assert found.startswith("row 6 (")
    assert "does not follow row 5" in found


async def test_two_rows_that_changed_places_are_found(chained: asyncpg.Connection) -> None:
    await chained.execute(
        f"{SIGNED_OFF} UPDATE prediction_ledger SET seq = -3 WHERE seq = 3;"
        "UPDATE prediction_ledger SET seq = 3 WHERE seq = 8; UPDATE prediction_ledger SET seq = 8 WHERE seq = -3"
    )
    found = await fault(chained)
    assert found is not None
    assert found.startswith("row 3 (")


REWRITE = f"""{SIGNED_OFF}
DO $$
DECLARE r prediction_ledger; head bytea := decode(repeat('00', 32), 'hex');
BEGIN
    UPDATE prediction_ledger SET proba_home = 0.9 WHERE seq = 5;
    FOR r IN SELECT * FROM prediction_ledger ORDER BY seq LOOP
        UPDATE prediction_ledger SET prev_hash = head, row_hash = prediction_ledger_hash(head, r.seq, r)
            WHERE id = r.id RETURNING row_hash INTO head;
    END LOOP;
END $$"""


@pytest.mark.parametrize(
    ("tampering", "says"),
    [
        (REWRITE, "is not the one expected"),
        (f"{SIGNED_OFF} DELETE FROM prediction_ledger WHERE seq > 7", "cut off after row 7"),
        (f"{SIGNED_OFF} DELETE FROM prediction_ledger", "cut off after row 0"),
    ],
)
async def test_what_a_chain_cannot_show_alone_a_noted_head_does(
    chained: asyncpg.Connection, tampering: str, says: str
) -> None:
    noted = (await verify(chained, PREDICTIONS)).head
    await chained.execute(tampering)
    assert await fault(chained) is None
    found = await fault(chained, noted)
    assert found is not None
    assert says in found


async def test_a_head_noted_earlier_still_holds_when_rows_were_added(
    settings: Settings, chained: asyncpg.Connection
) -> None:
    noted = (await verify(chained, PREDICTIONS)).head
    await write(settings, [a_ledger_row()])
    assert await fault(chained, noted, GENESIS) is None


async def test_the_database_computes_the_same_hashes(chained: asyncpg.Connection) -> None:
    assert await chained.fetchval(DIFFERING) == 0


@pytest.mark.parametrize("statement", ["UPDATE prediction_ledger SET match_id = 1", "DELETE FROM shadow_ledger"])
async def test_changes_are_refused_as_long_as_nobody_switches_that_off(
    chained: asyncpg.Connection, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await chained.execute(statement)


async def test_rows_from_before_the_chain_are_chained_by_the_migration(
    settings: Settings, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keep their hashes when a column comes later."""
    old = [a_ledger_row(match_id=n, odds_captured_at=None, request_id="Ø" * n) for n in range(5)]
    with monkeypatch.context() as before:
        before.setattr(migrations, "SCRIPTS", {name: sql for name, sql in migrations.SCRIPTS.items() if name < "002"})
        await migrations.migrate(database)
    await database.copy_records_to_table(
        "prediction_ledger", records=[row.values()[:-1] for row in old], columns=PREDICTIONS.columns[:-1]
    )
    await write(settings, [a_ledger_row(match_id=5)])
    assert await fault(database) is None
    assert await database.fetchval(DIFFERING) == 0
    assert await database.fetch("SELECT match_id FROM prediction_ledger ORDER BY seq") == [(n,) for n in range(6)]


async def test_many_writers_keep_one_chain(settings: Settings, database: asyncpg.Connection, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        homes = [settings.model_copy(update={"touchline_home": tmp_path / str(n)}) for n in range(4)]
        ledgers = [await stack.enter_async_context(Ledger.open(home)) for home in homes]
        for turn in range(5):
            for ledger in ledgers:
                ledger.record(a_ledger_row(match_id=turn))
            await asyncio.gather(*[ledger.flush() for ledger in ledgers if isinstance(ledger, Ledger)])
    verdict = await verify(database, PREDICTIONS)
    assert (verdict.fault, verdict.rows) == (None, 20)


async def test_a_row_that_postgres_refuses_goes_aside_and_holds_nobody_up(
    settings: Settings, database: asyncpg.Connection
) -> None:
    rows = [a_ledger_row(match_id=n, request_id="zero \0 byte" if n == 3 else "q") for n in range(8)]
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        for row in [*rows, a_ledger_row(match_id=2**63)]:
            ledger.record(row)
        await ledger.flush()
        assert (ledger.rows_refused, ledger.rows_waiting) == (2, 0)
    found = await database.fetch("SELECT match_id FROM prediction_ledger ORDER BY seq")
    assert found == [(n,) for n in range(8) if n != 3]
    assert await fault(database) is None
    kept = [orjson.loads(line) for line in (settings.touchline_home / "ledger-refused.jsonl").read_bytes().splitlines()]
    assert {line["row"]["id"] for line in kept} >= {str(rows[3].id)}
    assert all(line["table"] == "prediction_ledger" and line["reason"] for line in kept)


async def test_shadow_answers_are_chained_and_come_once(settings: Settings, database: asyncpg.Connection) -> None:
    rows = [a_shadow_row(task_id=f"t{n}") for n in range(4)]
    async with Ledger.open(settings) as ledger:
        await ledger.store_shadows(rows[:3])
        await ledger.store_shadows(rows)
    verdict = await verify(database, CHAINS[1])
    assert (verdict.fault, verdict.rows) == (None, 4)


async def test_what_waits_is_told(settings: Settings, database: asyncpg.Connection) -> None:
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        assert (ledger.rows_waiting, ledger.lag_s) == (0, 0)
        ledger.record(a_ledger_row())
        ledger.record(a_ledger_row())
        assert ledger.rows_waiting == 2
        assert ledger.bytes_waiting > 0
        assert ledger.lag_s > 0
        await ledger.flush()
        assert (ledger.rows_waiting, ledger.lag_s, ledger.bytes_waiting, ledger.rows_lost) == (0, 0, 0, 0)


def script(url: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    setting = ["-u", "DATABASE_URL"] if url is None else [f"DATABASE_URL={url}"]
    argv = ["env", *setting, sys.executable, "-m", "app.ledger", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


async def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(script, *arguments)


@pytest.mark.timeout(600)
async def test_the_script_verifies_and_its_exit_code_tells(chained: asyncpg.Connection, database_url: str) -> None:
    sound = await run(database_url, "verify")
    assert sound.returncode == 0, sound.stderr
    head = sound.stdout.partition("head ")[2].split()[0]
    assert sound.stdout.startswith(f"prediction_ledger: {N} rows hold, head {N}:")
    await chained.execute(f"{SIGNED_OFF} DELETE FROM prediction_ledger WHERE seq = {N}")
    assert (await run(database_url, "verify")).returncode == 0
    broken = await run(database_url, "verify", "--expect", head)
    assert (broken.returncode, broken.stdout.count("BROKEN")) == (1, 1)


@pytest.mark.timeout(600)
async def test_the_script_names_a_row_amid_others_and_says_no_more(
    chained: asyncpg.Connection, database_url: str
) -> None:
    await chained.execute(f"{SIGNED_OFF} UPDATE prediction_ledger SET proba_home = 0.9 WHERE seq = 4")
    broken = await run(database_url, "verify")
    assert (broken.returncode, broken.stderr) == (1, "")
    assert "BROKEN, row 4 (" in broken.stdout
    assert "shadow_ledger: 0 rows hold" in broken.stdout


@pytest.mark.timeout(600)
async def test_the_script_prints_rows(chained: asyncpg.Connection, database_url: str) -> None:
    tail = await run(database_url, "tail", "-n", "3")
    assert [orjson.loads(line)["match_id"] for line in tail.stdout.splitlines()] == [7, 8, 9]
    export = await run(database_url, "export")
    assert [orjson.loads(line)["seq"] for line in export.stdout.splitlines()] == list(range(1, N + 1))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("url", [None, "postgresql://nobody@127.0.0.1:1/nowhere"])
async def test_the_script_says_when_there_is_nothing_to_read(url: str | None) -> None:
    away = await run(url, "verify")
    assert away.returncode == 2
    assert "database" in away.stderr
    assert "Traceback" not in away.stderr
