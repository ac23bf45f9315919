"""One row of the prediction ledger."""

from dataclasses import asdict, dataclass, fields
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

    def line(self) -> bytes:
        """The row as a line of JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def parse(cls, line: bytes) -> "LedgerRow":
        """The row of a line of JSON; ValueError when it is not one."""
        try:
            values: dict[str, Any] = orjson.loads(line)
            captured = values["odds_captured_at"]
            return cls(
                **values
                | {
                    "id": UUID(values["id"]),
                    "answered_at": datetime.fromisoformat(values["answered_at"]),
                    "odds_captured_at": captured and datetime.fromisoformat(captured),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a ledger row: {error}") from error

    def values(self) -> tuple[Any, ...]:
        """The values in the order of COLUMNS."""
        return tuple(getattr(self, name) for name in COLUMNS)


COLUMNS = tuple(field.name for field in fields(LedgerRow))
