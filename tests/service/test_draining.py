"""Shadow answers go from a real stream into a real database, once, whatever was away meanwhile."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import pytest
from arq.connections import ArqRedis
from pydantic import SecretStr

from app.background.ledger_sync import GROUP, LedgerSync, sync_ledger
from app.ledger.chain import SHADOWS
from app.ledger.database import AWAY
from app.ledger.ledger import Ledger, NoLedger
from app.ledger.verify import verify
from app.queue.redis_keys import RedisKeys
from app.queue.shadow_stream import ShadowPrediction, ShadowStream
from app.settings import Settings
from tests.support.build_ledger import a_ledger_row
from tests.support.serving import until

SHADOW = ShadowPrediction(
    task_id="t1",
    match_id=7,
    snapshot_id="s1",
    request_id="q1",
    alias="champion",
    model_version="1",
    proba=(0.5, 0.3, 0.2),
    shadow_alias="candidate",
    shadow_name="soccer-match-outcome",
    shadow_version="2",
    shadow_run_id="r2",
    shadow_proba=(0.4, 0.35, 0.25),
    computed_at=datetime(2026, 8, 1, tzinfo=UTC),
)


@pytest.fixture
def settings(live_settings: Settings, tmp_path: str, database_url: str) -> Settings:
    return live_settings.model_copy(update={"touchline_home": tmp_path, "database_url": SecretStr(database_url)})


@pytest.fixture
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    async with Ledger.open(settings) as ledger:
        assert isinstance(ledger, Ledger)
        yield ledger


@pytest.fixture
def shadows(settings: Settings, redis: ArqRedis) -> ShadowStream:
    return ShadowStream(redis, RedisKeys(settings.queue_name))


async def stored(ledger: Ledger) -> list[asyncpg.Record]:
    pool = await ledger.database.pool()
    return list(await pool.fetch("SELECT * FROM shadow_ledger ORDER BY seq"))


async def test_a_shadow_answer_joins_its_prediction(settings: Settings, ledger: Ledger, shadows: ShadowStream) -> None:
    ledger.record(a_ledger_row(task_id="t1"))
    await ledger.flush()
    await shadows.publish([SHADOW])

    async def is_there() -> bool:
        return bool(await stored(ledger))

    async with sync_ledger(settings, ledger):
        await until(is_there)
    pool = await ledger.database.pool()
    joined = await pool.fetchrow(
        "SELECT l.proba_home, s.proba_home, s.model_version, s.computed_at "
        "FROM prediction_ledger l JOIN shadow_ledger s USING (task_id)"
    )
    assert tuple(joined) == (0.5, 0.4, "2", SHADOW.computed_at)


async def test_what_is_published_again_is_there_once(ledger: Ledger, shadows: ShadowStream) -> None:
    drain = LedgerSync(shadows, ledger)
    other = replace(SHADOW, shadow_version="3")
    for batch in ([SHADOW], [SHADOW, other], [other]):
        await shadows.publish(batch)
        assert await drain.step()
    assert [row["model_version"] for row in await stored(ledger)] == ["2", "3"]
    pool = await ledger.database.pool()
    async with pool.acquire() as connection:
        assert (await verify(connection, SHADOWS)).fault is None


async def test_stored_answers_leave_the_stream(
    settings: Settings, ledger: Ledger, shadows: ShadowStream, redis: ArqRedis
) -> None:
    await shadows.publish([replace(SHADOW, task_id=f"t{n}") for n in range(5)])
    drain = LedgerSync(shadows, ledger)
    assert await drain.step()
    assert not await drain.step()
    name = RedisKeys(settings.queue_name).shadows
    assert await redis.xlen(name) == 0
    assert (await redis.xpending(name, GROUP))["pending"] == 0


async def test_answers_wait_while_the_database_refuses(ledger: Ledger, shadows: ShadowStream) -> None:
    await shadows.publish([SHADOW])
    pool = await ledger.database.pool()
    await pool.execute("ALTER TABLE shadow_ledger RENAME TO elsewhere")
    drain = LedgerSync(shadows, ledger)
    for _ in range(2):
        with pytest.raises(AWAY):
            await drain.step()
    await pool.execute("ALTER TABLE elsewhere RENAME TO shadow_ledger")
    assert await drain.step()
    assert len(await stored(ledger)) == 1


async def test_an_entry_that_cannot_be_read_holds_up_no_other(
    settings: Settings, ledger: Ledger, shadows: ShadowStream, redis: ArqRedis
) -> None:
    await redis.xadd(RedisKeys(settings.queue_name).shadows, {"shadow": b"{}"})
    await shadows.publish([SHADOW])
    assert await LedgerSync(shadows, ledger).step()
    assert len(await stored(ledger)) == 1
    assert (await redis.xpending(RedisKeys(settings.queue_name).shadows, GROUP))["pending"] == 0


async def test_without_a_ledger_nobody_reads(settings: Settings, shadows: ShadowStream, redis: ArqRedis) -> None:
    await shadows.publish([SHADOW])
    async with sync_ledger(settings, NoLedger()):
        assert await redis.xlen(RedisKeys(settings.queue_name).shadows) == 1
        assert await redis.xinfo_groups(RedisKeys(settings.queue_name).shadows) == []
