"""What was known at an earlier time, asked of the store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import AsOfUnknown
from app.store.as_of import as_of_snapshot
from app.store.lru import RefCountedCache
from app.store.money import MoneyRules
from app.store.snapshot import OpenRules, Snapshot, open_snapshot
from tests.support.build_artifacts import NOW, write_artifacts

N = 400
_COMPARED = "* EXCLUDE fixture_no"  # an arbitrary number


@pytest.fixture
async def snapshot(tmp_path: Path) -> AsyncIterator[Snapshot]:
    """Four hundred matches, three a day, and their history."""
    folder = write_artifacts(tmp_path / "artifacts", n_matches=N, with_history=True)
    rules = OpenRules(MoneyRules(min_bets=2), feature_cache=tmp_path / "features")
    opened = await asyncio.to_thread(open_snapshot, "s1", folder, rules)
    yield opened
    await asyncio.to_thread(opened.database.close)


async def cards(snapshot: Snapshot, as_of: datetime | None = None, columns: str = _COMPARED) -> list[Any]:
    async with as_of_snapshot(snapshot, as_of) as then:
        return await then.database.fetch(f"SELECT {columns} FROM cards ORDER BY match_id")


async def test_the_end_of_the_history_is_what_the_artifacts_say(snapshot: Snapshot) -> None:
    """Card for card and cell for cell, and the walk-forward region ROI beside it."""
    assert await cards(snapshot, NOW) == await cards(snapshot)
    async with as_of_snapshot(snapshot, NOW) as then:
        assert await newest(then, NOW) == await newest(snapshot, NOW)


@pytest.mark.parametrize("days", [0.1, 3, 30, 60.5])
async def test_nothing_is_known_before_its_time(snapshot: Snapshot, days: float) -> None:
    moment = NOW - timedelta(days=days)
    columns = "kickoff_utc, status, outcome, captured_at, profit, model_stage"
    known = await cards(snapshot, moment, columns)
    assert 0 < len(known) < N
    for kickoff, status, outcome, captured_at, profit, _ in known:
        is_over = kickoff + timedelta(hours=2) <= moment
        assert status == ("finished" if is_over else "live" if kickoff <= moment else "upcoming")
        assert (outcome is not None) == is_over
        assert captured_at is None or captured_at <= moment
        assert profit is None or is_over


async def test_match_in_play_is_live(snapshot: Snapshot) -> None:
    kickoff = NOW - timedelta(hours=36)
    ((status,),) = [
        row[1:]
        for row in await cards(snapshot, kickoff + timedelta(hours=1), "kickoff_utc, status")
        if row[0] == kickoff
    ]
    assert status == "live"


async def test_region_roi_of_then_is_what_the_pipeline_had_written_for_that_day(snapshot: Snapshot) -> None:
    """The file of today holds a row for every day, of what had been settled by its end."""
    midnight = (NOW - timedelta(days=20)).replace(hour=0)
    async with as_of_snapshot(snapshot, midnight) as then:
        found = await newest(then, midnight)
    assert len(found) == 3
    assert found == await newest(snapshot, midnight)


async def newest(snapshot: Snapshot, until: datetime) -> list[Any]:
    """The newest row of each region up to a time, to nine digits."""
    figures = ", ".join(f"round({name}, 9)" for name in ("profit", "roi_pct", "roi_ci_low", "max_drawdown", "clv_pct"))
    sql = f"""SELECT region, n_bets, n_wins, n_clv, {figures} FROM roi_by_region WHERE settled_until <= $1
        QUALIFY row_number() OVER (PARTITION BY region ORDER BY settled_until DESC) = 1 ORDER BY region"""
    return await snapshot.database.fetch(sql, [until])


async def test_a_later_time_than_the_history_is_refused(snapshot: Snapshot) -> None:
    with pytest.raises(AsOfUnknown) as refused:
        await cards(snapshot, NOW + timedelta(seconds=1))
    assert refused.value.extras == {"known_until": NOW.isoformat()}


async def test_before_the_first_match_nothing_was_known(snapshot: Snapshot) -> None:
    async with as_of_snapshot(snapshot, NOW - timedelta(days=4000)) as then:
        assert (then.n_matches, then.n_odds, then.manifest.data_until) == (0, 0, None)


async def test_times_are_kept_within_bounds_and_asked_again_after(snapshot: Snapshot) -> None:
    limit = 3 * N
    object.__setattr__(snapshot, "as_of_cache", RefCountedCache[Snapshot](limit, lambda then: then.n_matches))
    moments = [NOW - timedelta(hours=hours) for hours in range(8)]
    first = [await cards(snapshot, moment) for moment in moments]
    schemas = "SELECT count(*) FROM duckdb_schemas() WHERE schema_name LIKE 'as_of%'"
    assert (await snapshot.database.fetch(schemas))[0][0] == len(snapshot.as_of_cache) <= 3
    assert [await cards(snapshot, moment) for moment in moments] == first


async def test_one_time_asked_by_many_at_once_is_built_once(snapshot: Snapshot) -> None:
    moment = NOW - timedelta(days=9)
    found = await asyncio.gather(*(cards(snapshot, moment) for _ in range(8)))
    assert all(each == found[0] for each in found)
    assert len(snapshot.as_of_cache) == 1
