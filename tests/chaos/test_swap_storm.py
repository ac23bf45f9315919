"""A minute of new artifacts, good and broken, every 200 ms under load."""

import asyncio
from pathlib import Path
from statistics import median

import pytest

from app.api.responses import BULK_MEDIA
from tests.support.storm import make_sets, storm

SECONDS = 60.0


@pytest.mark.timeout(300)
async def test_a_minute_of_swaps_under_load(tmp_path: Path) -> None:
    """No answer fails or mixes two snapshots, no file handle, connection or thread is left, memory stays flat."""
    sets = await asyncio.to_thread(make_sets, tmp_path, 12)
    async with storm(tmp_path, sets[0]) as blowing:
        # what a process takes once, it may keep
        await blowing.blow(sets, seconds=10)
        before = await blowing.settle()
        blowing.uses.clear()
        await blowing.blow(sets, seconds=SECONDS)
        after = await blowing.settle()
    assert len(blowing.seen.sets) > 50
    assert blowing.seen.n_answers > 1000
    assert set(blowing.seen.statuses) == {200, 304}
    assert set(blowing.seen.forms) == set(BULK_MEDIA)
    assert after.fds <= before.fds + 3
    assert after.threads <= before.threads + 3
    third = len(blowing.uses) // 3
    early, late = (median(use.rss_mb for use in part) for part in (blowing.uses[:third], blowing.uses[-third:]))
    assert late < 1.15 * early + 20, f"{early:.0f} MB became {late:.0f} MB"
