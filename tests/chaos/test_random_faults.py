"""Ten minutes of random faults under mixed load: see `tests/chaos/faults.py` for what must hold."""

import logging
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS, System, strike_at_random, table

log = logging.getLogger(__name__)
SECONDS = 600.0


@pytest.mark.timeout(3600)
async def test_random_faults_leave_no_wrong_answer_and_lose_nothing(tmp_path: Path) -> None:
    async with System.running(tmp_path) as system:
        recoveries = await strike_at_random(system, seconds=SECONDS, seed=18)
        missing = await system.missing_in_ledger()
    log.info("%s\n%s", table(recoveries), system.seen.statuses)
    assert system.seen.violations == []
    assert missing == []
    assert {each.fault for each in recoveries} == set(FAULTS)
    assert min(system.seen.n_live, system.seen.n_reads) > 500
