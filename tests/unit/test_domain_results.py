from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.domain.results import MatchResult

KICKOFF = datetime(2026, 8, 1, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kickoff", "is_known", "expected"),
    [
        (KICKOFF, True, KICKOFF),
        (KICKOFF, False, datetime(2026, 8, 1, tzinfo=UTC)),
        # the day is that of UTC, wherever the time was written down
        (datetime(2026, 8, 1, 1, tzinfo=timezone(timedelta(hours=3))), False, datetime(2026, 7, 31, tzinfo=UTC)),
    ],
)
def test_a_match_is_decided_from_its_kickoff_or_from_its_day(
    kickoff: datetime, is_known: bool, expected: datetime
) -> None:
    assert MatchResult(7, kickoff, is_known, None, None, None, None).decided_from == expected
