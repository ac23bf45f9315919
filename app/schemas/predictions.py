"""Precomputed predictions, odds, the history of a match, and facets to filter by."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.schemas.base import ModelRefOut, Odds1X2Out, Out, Outcome, ProbabilitiesOut, SnapshotOut, Status

_KICKOFF_KNOWN = "false when only the day is published: kickoff_utc then holds 15:00 UK time, an assumption"


class PredictionOut(Out):
    """A precomputed prediction."""

    match_id: int
    kickoff_utc: datetime
    kickoff_known: bool = Field(description=_KICKOFF_KNOWN)
    region: str
    tournament: str
    season: str
    home_team: str
    away_team: str
    status: Status
    home_score: int | None
    away_score: int | None
    outcome: Outcome | None
    probabilities: ProbabilitiesOut
    predicted: Outcome
    in_sample: bool = Field(description="true when the model was trained on this match's result")
    model: ModelRefOut
    computed_at: datetime


class PredictionDetailOut(PredictionOut):
    """One precomputed prediction and the snapshot it is from."""

    snapshot: SnapshotOut


class PredictionsOut(Out):
    """All precomputed predictions."""

    snapshot: SnapshotOut
    count: int
    items: list[PredictionOut]


class OddsOut(Out):
    """The newest 1X2 odds of one match."""

    match_id: int
    odds: Odds1X2Out
    bookmaker: str
    event_url: str | None
    captured_at: datetime
    overround: float


class OddsListOut(Out):
    """All odds."""

    snapshot: SnapshotOut
    count: int
    items: list[OddsOut]


class FacetOut(Out):
    """One region and tournament, and how many cards it has."""

    region: str
    tournament: str
    n: int


class StatusCountOut(Out):
    """How many cards have a status."""

    status: Status
    n: int


class FacetsOut(Out):
    """What there is to filter by. Counts by status leave the filter of status out, those by place that of places."""

    snapshot: SnapshotOut
    total: int = Field(description="cards that pass the whole filter")
    n_value: int = Field(description="value bets among them")
    statuses: list[StatusCountOut]
    items: list[FacetOut]


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
