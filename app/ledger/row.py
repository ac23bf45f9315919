"""The rows of the ledger: what was answered, and what the shadow model would have answered."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A live prediction as it was answered; `id` makes writing it twice harmless."""

    id: UUID
    answered_at: datetime
    match_id: int
    proba_home: float
    proba_draw: float
    proba_away: float
    model_name: str
    model_version: str
    model_alias: str
    model_run_id: str
    snapshot_id: str
    odds_home: float | None
    odds_draw: float | None
    odds_away: float | None
    odds_captured_at: datetime | None
    request_id: str
    task_id: str
    latency_ms: float
    trace_id: str | None = None  # rows of before migration 005 have none

    def line(self) -> bytes:
        """The row as a line of JSON; TypeError when it cannot be written."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def parse(cls, line: bytes) -> "LedgerRow":
        """The row of a line of JSON; ValueError when it is not one."""
        try:
            values: dict[str, Any] = orjson.loads(line)
            captured = values["odds_captured_at"]
            values["id"] = UUID(values["id"])
            values["answered_at"] = datetime.fromisoformat(values["answered_at"])
            values["odds_captured_at"] = captured and datetime.fromisoformat(captured)
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a ledger row: {error}") from error

    def values(self) -> tuple[Any, ...]:
        """The values in the order of the columns."""
        return tuple([getattr(self, name) for name in _COLUMNS])


_COLUMNS = tuple(field.name for field in fields(LedgerRow))


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """What another model said of the same feature row; `task_id` leads to the prediction that was answered."""

    id: UUID
    task_id: str
    computed_at: datetime
    match_id: int
    proba_home: float
    proba_draw: float
    proba_away: float
    model_name: str
    model_version: str
    model_alias: str
    model_run_id: str
    answered_alias: str
    answered_version: str
    snapshot_id: str
    request_id: str

    def values(self) -> tuple[Any, ...]:
        """The values in the order of the columns."""
        return tuple([getattr(self, field.name) for field in fields(self)])
