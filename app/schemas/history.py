"""What was known of a match, and when."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.schemas.wire import ModelRefOut, Odds1X2Out, Out, Outcome, ProbabilitiesOut, SnapshotOut, Status


class QuoteOut(Out):
    """One bookmaker's prices at one time."""

    kind: Literal["offer", "closing"] = Field(description="closing: the last before kick-off")
    odds: Odds1X2Out
    implied: ProbabilitiesOut
    fair: ProbabilitiesOut = Field(description="margin removed by the power method")
    overround: float
    bookmaker: str
    captured_at: datetime
    known_at: datetime = Field(description="when it came into the history; never before `captured_at`")


class PastPredictionOut(Out):
    """One prediction of the match."""

    probabilities: ProbabilitiesOut
    model: ModelRefOut
    in_sample: bool
    computed_at: datetime
    known_at: datetime = Field(
        description="when it was, or for a walk-forward prediction computed later could have been, made"
    )


class MatchHistoryOut(Out):
    """Odds and predictions of a match over time, oldest first."""

    snapshot: SnapshotOut
    match_id: int
    kickoff_utc: datetime
    status: Status
    outcome: Outcome | None
    odds: list[QuoteOut]
    predictions: list[PastPredictionOut]
