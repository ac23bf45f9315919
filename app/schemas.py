"""What goes over the wire: *Out answers, *In bodies, *Path and *Query parameters."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Outcome = Literal["home", "draw", "away"]
Status = Literal["upcoming", "live", "finished", "postponed", "cancelled"]
Probability = Annotated[float, Field(ge=0, le=1)]


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _written_out(value: object) -> object:
    # pydantic would take "0.5" as half a second after 1970
    if isinstance(value, str) and not _RFC_3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 time such as 2026-08-15T14:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_written_out)]


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class In(BaseModel):
    """A request body: strict, so that `false` is not accepted as 0."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Params(BaseModel):
    """Path or query parameters, which arrive as text; unknown ones are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SnapshotOut(Out):
    """The artifacts behind an answer and their age."""

    id: str = Field(description="changes when any artifact changes")
    source: str = Field(description="where the results came from: football-data.co.uk or simulated")
    simulated: bool = Field(description="true when the matches are made up")
    built_at: datetime = Field(description="when the pipeline finished, UTC")
    data_until: datetime | None = Field(description="newest result the pipeline saw, UTC")
    opened_at: datetime = Field(description="when this service opened it, UTC")
    stale: bool = Field(description="true when newer artifacts could not be opened")


class ModelRefOut(Out):
    """Which model made a number."""

    name: str
    version: str
    stage: str = Field(description="alias, or walk-forward for a model that saw only earlier matches")
    run_id: str


class ProbabilitiesOut(Out):
    """1X2 probabilities; they sum to one."""

    home: Probability
    draw: Probability
    away: Probability


class Odds1X2Out(Out):
    """Decimal odds."""

    home: float = Field(gt=1)
    draw: float = Field(gt=1)
    away: float = Field(gt=1)


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


class CardMoneyOut(Out):
    """What the odds say beside the model; per outcome."""

    odds: Odds1X2Out
    bookmaker: str
    event_url: str | None
    captured_at: datetime
    overround: float = Field(description="sum of 1/odds, less one")
    implied: ProbabilitiesOut | None = Field(description="1/odds; null when a price makes it exceed one")
    fair: ProbabilitiesOut = Field(description="1/odds with the margin removed by the power method")
    edge_home: float = Field(description="p*odds-1")
    edge_draw: float
    edge_away: float
    best_edge: float
    best_outcome: Outcome
    is_value: bool = Field(description="best edge at or above the threshold")
    kelly_stake: float = Field(description="fractional, capped Kelly stake on the best outcome, share of bankroll")
    profit: float | None = Field(
        description="settled profit of one unit on the value bet; null when none, open, in sample, or priced too late"
    )


class RegionRoiRefOut(Out):
    """ROI of a card's region from bets settled before its kick-off (walk-forward)."""

    roi_pct: float | None = Field(description="shrunk to the mean of all regions; null when there are too few bets")
    n_bets: int
    ci_low: float | None = Field(description="95 %, of the shrunk figure")
    ci_high: float | None


class CardOut(PredictionOut):
    """One match: prediction, odds, edge."""

    hit: bool | None = Field(description="predicted equals outcome; null before the result")
    money: CardMoneyOut | None = Field(description="null when there are no odds")
    region_roi: RegionRoiRefOut | None


class CardsOut(Out):
    """A page of cards."""

    snapshot: SnapshotOut
    value_edge: float = Field(description="threshold of a value bet")
    total: int = Field(description="cards that pass the filter")
    next_cursor: str | None
    items: list[CardOut]


class CardFilter(Params):
    """Which matches; the same names in every endpoint that filters."""

    region: str | None = Field(None, max_length=100)
    tournament: str | None = Field(None, max_length=100)
    status: Status | None = None
    from_: Instant | None = Field(None, alias="from", description="kick-off at or after, RFC 3339")
    to: Instant | None = Field(None, description="kick-off before, RFC 3339")
    min_edge: float | None = Field(None, ge=-1, le=100, description="best edge at or above")
    min_region_roi: float | None = Field(
        None, ge=-100, le=1000, description="walk-forward region ROI, shrunk, at or above, %"
    )
    q: str | None = Field(None, max_length=100, description="part of a team, tournament or region name")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CardSort(StrEnum):
    """Order of cards."""

    KICKOFF = "kickoff"
    KICKOFF_DESC = "-kickoff"
    EDGE = "-edge"


class CardsQuery(CardFilter):
    """Filter, order and page."""

    sort: CardSort = CardSort.KICKOFF
    limit: int = Field(200, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=200)


class FacetOut(Out):
    """One region and tournament, and how many cards it has."""

    region: str
    tournament: str
    n: int


class FacetsOut(Out):
    """What there is to filter by."""

    snapshot: SnapshotOut
    items: list[FacetOut]


class MoneyOut(Out):
    """Result of settled value bets. ROI and interval are null below `min_bets`."""

    n_matches: int
    n_bets: int
    n_wins: int
    hit_rate: float | None
    staked: float
    profit: float
    roi_pct: float | None
    roi_ci_low: float | None = Field(description="95 %, normal approximation over bets")
    roi_ci_high: float | None
    too_few: bool


class RegionRoiOut(MoneyOut):
    """One region."""

    region: str
    settled_until: datetime


class RegionRoiListOut(Out):
    """Live-betting ROI by region: bets settled until each row's time."""

    snapshot: SnapshotOut
    bookmaker: str
    min_bets: int
    items: list[RegionRoiOut]


class StakingName(StrEnum):
    """How bets are staked."""

    FLAT = "flat"
    KELLY = "kelly"


class RoiQuery(CardFilter):
    """Filter and staking."""

    staking: StakingName = StakingName.FLAT


class RoiOut(MoneyOut):
    """Result of the settled value bets in exactly the filtered matches."""

    snapshot: SnapshotOut
    staking: StakingName
    value_edge: float
    min_bets: int
    average_odds: float | None
    mean_edge_pct: float | None = Field(description="what the model promised on these bets")
    max_drawdown: float
    n_open_value_bets: int
    n_predicted: int = Field(
        description="matches that the accuracies count: finished, out of sample, with odds; "
        "when none of these has odds, all finished ones out of sample"
    )
    accuracy: float | None = Field(description="hit rate of the most probable outcome on the n_predicted matches")
    accuracy_market: float | None = Field(
        description="hit rate of the market favourite on the same; null when none has odds"
    )
    accuracy_home: float | None = Field(description="hit rate of always picking the home side, on the same")
    n_in_sample_excluded: int


class MatchPath(Params):
    """A match."""

    match_id: int = Field(ge=0, le=2**63 - 1)


class LiveQuery(Params):
    """How to predict."""

    stage: str = Field("champion", pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="alias of the model")
    explain: bool = False


class AsyncPredictIn(In):
    """A prediction to be made later."""

    match_id: int = Field(ge=0, le=2**63 - 1)
    stage: str = Field("champion", pattern=r"^[a-z][a-z0-9_-]{0,39}$")
    explain: bool = False


class ContributionOut(Out):
    """What one feature adds to the margin (log scale) of each outcome."""

    feature: str
    value: float | None
    home: float
    draw: float
    away: float


class LiveModelOut(Out):
    """The model that answered."""

    name: str
    version: str
    alias: str
    run_id: str


class TimingsOut(Out):
    """Where the time went, milliseconds."""

    features_ms: float | None = Field(description="null in a task's result: nobody waited")
    queue_ms: float
    inference_ms: float
    total_ms: float | None = Field(description="null in a task's result: nobody waited")


class LivePredictionOut(Out):
    """A live prediction and the age of everything behind it."""

    match_id: int
    probabilities: ProbabilitiesOut
    predicted: Outcome
    model: LiveModelOut
    snapshot_id: str
    features_computed_at: datetime
    feature_age_s: float = Field(description="since the features were computed")
    data_until: datetime | None = Field(
        description="newest result the features know, UTC; those of a match know only what came before it; "
        "null when nobody knows any more"
    )
    odds_captured_at: datetime | None
    odds_age_s: float | None
    computed_at: datetime
    task_id: str
    timings: TimingsOut
    explanation: list[ContributionOut] | None = None


class TaskPath(Params):
    """A task."""

    task_id: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9:_.-]+$")


class TaskStatus(StrEnum):
    """Where a task is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class TaskOut(Out):
    """A task; `result` once it is done."""

    task_id: str
    status: TaskStatus
    result: LivePredictionOut | None = None
    error: str | None = Field(None, description="code of the failure")
    detail: str | None = None


class ModelInfoOut(Out):
    """A model that workers hold."""

    alias: str
    name: str
    version: str
    run_id: str
    flavor: str
    registered_at: datetime | None
    loaded_at: datetime
    n_features: int
    trained_until: datetime | None
    metrics: dict[str, float]
    tags: dict[str, str]


class ModelInfoListOut(Out):
    """The loaded models by alias."""

    items: list[ModelInfoOut]


class QueueOut(Out):
    """State of one queue."""

    name: str
    queued: int
    scheduled: int
    in_progress: int
    oldest_age_s: float | None
    dead_letters: int


class QueuesOut(Out):
    """All queues."""

    items: list[QueueOut]


class WorkerOut(Out):
    """One worker process."""

    worker_id: str
    host: str
    pid: int
    started_at: datetime
    last_beat_at: datetime
    jobs_done: int
    jobs_failed: int
    memory_mb: float
    models: dict[str, str] = Field(description="alias to version")


class WorkersOut(Out):
    """All living workers."""

    items: list[WorkerOut]


class DriftFeatureOut(Out):
    """Drift of one feature."""

    feature: str
    method: str
    score: float | None
    threshold: float | None
    drifted: bool | None


class DriftOut(Out):
    """The newest drift report and its age."""

    verdict: str
    score: float | None = Field(description="share of drifted features")
    n_features: int
    n_drifted: int
    computed_at: datetime
    age_s: float
    reference: dict[str, str | int | None]
    current: dict[str, str | int | None]
    features: list[DriftFeatureOut]


class PartOut(Out):
    """Health of one part."""

    name: str
    ok: bool
    detail: str


class ReadyOut(Out):
    """Whether this process should get traffic."""

    ready: bool
    degraded: bool
    parts: list[PartOut]


class LiveOut(Out):
    """The event loop turns."""

    status: Literal["alive"]


class HealthOut(Out):
    """Process and database."""

    status: Literal["ok", "degraded"]
    version: str
    pid: int
    uptime_s: float
    memory_mb: float
    database: Literal["connected", "unreachable", "not configured"]


class ProblemOut(Out):
    """RFC 9457 problem; `code` is stable."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None
