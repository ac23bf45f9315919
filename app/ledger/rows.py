"""The rows of the ledger: live predictions, shadow predictions, and requests that are still unanswered."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

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


class PredictionAnswer(Protocol):
    """What a worker answered, as far as the ledger keeps it."""

    @property
    def proba(self) -> tuple[float, float, float]: ...  # of home, draw, away
    @property
    def model_name(self) -> str: ...
    @property
    def model_version(self) -> str: ...
    @property
    def alias(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def computed_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One question and the odds of its moment; its `id` becomes that of its row, so that it has one row at most."""

    asked_at: datetime
    match_id: int
    snapshot_id: str
    odds_home: float | None
    odds_draw: float | None
    odds_away: float | None
    odds_captured_at: datetime | None
    request_id: str
    trace_id: str
    id: UUID = field(default_factory=uuid4)

    def to_row(self, task_id: str, answer: PredictionAnswer, at: datetime, latency_ms: float) -> LedgerRow:
        """The row of an answer given at that time."""
        home, draw, away = answer.proba
        return LedgerRow(
            id=self.id,
            answered_at=at,
            match_id=self.match_id,
            proba_home=home,
            proba_draw=draw,
            proba_away=away,
            model_name=answer.model_name,
            model_version=answer.model_version,
            model_alias=answer.alias,
            model_run_id=answer.run_id,
            snapshot_id=self.snapshot_id,
            odds_home=self.odds_home,
            odds_draw=self.odds_draw,
            odds_away=self.odds_away,
            odds_captured_at=self.odds_captured_at,
            request_id=self.request_id,
            task_id=task_id,
            latency_ms=latency_ms,
            trace_id=self.trace_id,
        )

    def answered_later(self, task_id: str, answer: PredictionAnswer) -> LedgerRow:
        """The row of an answer that nobody waited for: given when it was computed, or at once where it was known."""
        at = max(self.asked_at, answer.computed_at)
        return self.to_row(task_id, answer, at, 1000 * (at - self.asked_at).total_seconds())

    def encode(self) -> bytes:
        """The question as JSON."""
        return orjson.dumps(self)

    @classmethod
    def decode(cls, raw: str | bytes) -> "PredictionRecord":
        """The question of that JSON; ValueError when it is none."""
        try:
            values: dict[str, Any] = orjson.loads(raw)
            captured = values["odds_captured_at"]
            times = {
                "asked_at": datetime.fromisoformat(values["asked_at"]),
                "odds_captured_at": captured and datetime.fromisoformat(captured),
            }
            return cls(**values | times | {"id": UUID(values["id"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a question: {error}") from error
