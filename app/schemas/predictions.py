"""Precomputed predictions, odds, the history of a match, and facets to filter by."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.schemas.base import (
    DifferencesOut,
    ModelRefOut,
    Odds1X2Out,
    Out,
    Outcome,
    ProbabilitiesOut,
    SnapshotOut,
    Status,
)

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


class BookmakerPriceOut(Out):
    """The newest prices of one bookmaker on a match."""

    bookmaker: str = Field(description="`market average` and `market best` are of all that the source follows")
    kind: Literal["offer", "closing"] = Field(description="closing: the last before kick-off")
    odds: Odds1X2Out
    implied: ProbabilitiesOut
    fair: ProbabilitiesOut = Field(description="margin removed by the power method")
    overround: float = Field(description="sum of 1/odds, less one; below zero for best prices of several bookmakers")
    captured_at: datetime
    age_s: float = Field(
        ge=0, description="from the capture to kick-off; to `snapshot.built_at` for a match that begins after it"
    )
    url: str | None
    is_sound: bool = Field(
        description="false when the other prices of the match contradict it: it is never used for an edge or a bet"
    )
    could_be_taken: bool = Field(
        description="somebody's offer from before kick-off: no average, no best price of nobody named, no exchange"
    )
    best_for: list[Outcome] = Field(description="outcomes for which no sound price that could be taken is higher")
    movement: DifferencesOut = Field(
        description="fair probabilities, less those of the first price of this bookmaker that the history knows"
    )
    n_known: int = Field(description="prices of this bookmaker in the history")


class BookmakersOut(Out):
    """What all bookmakers offer on a match."""

    snapshot: SnapshotOut
    match_id: int
    kickoff_utc: datetime
    status: Status
    n_bookmakers: int = Field(description="bookmakers with an offer, without averages, best prices and exchanges")
    items: list[BookmakerPriceOut] = Field(description="offers, then closing prices, each by bookmaker")


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
