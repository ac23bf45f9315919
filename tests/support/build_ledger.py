"""Builders of ledger rows."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.ledger.rows import LedgerRow, ShadowRow


def a_ledger_row(**changes: Any) -> LedgerRow:
    """A row as a live prediction leaves it."""
    now = datetime.now(UTC)
    row = LedgerRow(
        id=uuid4(),
        answered_at=now,
        match_id=7,
        proba_home=0.5,
        proba_draw=0.3,
        proba_away=0.2,
        model_name="soccer-match-outcome",
        model_version="1",
        model_alias="champion",
        model_run_id="r1",
        snapshot_id="s1",
        odds_home=2.1,
        odds_draw=None,
        odds_away=3.5,
        odds_captured_at=now,
        request_id="q1",
        task_id="t1",
        latency_ms=3.2,
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )
    return replace(row, **changes)


def a_shadow_row(**changes: Any) -> ShadowRow:
    """A row as the shadow model leaves it beside `a_ledger_row`."""
    row = ShadowRow(
        id=uuid4(),
        task_id="t1",
        computed_at=datetime.now(UTC),
        match_id=7,
        proba_home=0.4,
        proba_draw=0.3,
        proba_away=0.3,
        model_name="soccer-match-outcome",
        model_version="2",
        model_alias="candidate",
        model_run_id="r2",
        answered_alias="champion",
        answered_version="1",
        snapshot_id="s1",
        request_id="q1",
    )
    return replace(row, **changes)
