"""A few seconds of the storm of swaps; tests/chaos has the long one."""

import asyncio
from pathlib import Path

import pytest

from app.api.responses import BULK_MEDIA
from tests.support.storm import make_sets, storm


@pytest.mark.timeout(600)
async def test_swaps_under_load_fail_no_answer_and_mix_no_snapshots(tmp_path: Path) -> None:
    """The process is as it was, and what it took for each snapshot is gone."""
    sets = await asyncio.to_thread(make_sets, tmp_path, 6)
    async with storm(tmp_path, sets[0]) as blowing:
        await blowing.blow(sets, seconds=1.5)
        before = await blowing.settle()
        await blowing.blow(sets, seconds=4)
        while 304 not in blowing.seen.statuses:  # a slow machine may not have asked twice between two swaps
            await blowing.blow(sets, seconds=1)
        after = await blowing.settle()
    assert len(blowing.seen.sets) > 2
    assert set(blowing.seen.statuses) == {200, 304}
    assert set(blowing.seen.forms) == set(BULK_MEDIA)
    assert after.fds <= before.fds + 3
    assert after.threads <= before.threads + 3
