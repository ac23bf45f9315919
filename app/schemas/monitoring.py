"""Models, queues, workers, drift, quality of past predictions, artifact refreshes and the change feed."""

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from app.domain.drift import FeatureState, ReportState, Verdict
from app.schemas.base import In, Out, Params


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
    drain_rate_per_s: float = Field(description="jobs that the workers answer each second at present")


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
    refused: dict[str, str] = Field(description="alias to the version that this worker does not take, and why")


class WorkersOut(Out):
    """All living workers."""

    items: list[WorkerOut]


class DriftFeatureOut(Out):
    """Drift of one column."""

    feature: str
    method: str = Field(description="psi: population stability index")
    score: float | None
    threshold: float | None
    drifted: bool | None = Field(description="null when it could not be compared; state says why")
    state: FeatureState | None = Field(description="what came of this column; null in reports of other pipelines")
    missing_reference: float | None = Field(description="share of rows without a value")
    missing_current: float | None


class DriftCheckOut(Out):
    """What came of the last scheduled check."""

    state: str = Field(description="done, no_data, not_installed, out_of_memory, timed_out, failed or busy")
    detail: str
    at: datetime
    age_s: float


class DriftOut(Out):
    """The newest drift report and its age."""

    verdict: Verdict = Field(description="stable, moderate or severe, above what chance alone gives; no_data")
    summary: str = Field(description="the report in a sentence")
    state: ReportState | None = Field(description="what came of the comparison; null in reports of other pipelines")
    score: float | None = Field(description="share of drifted features")
    share_by_chance: float | None = Field(description="share that would count as drifted if nothing had changed")
    n_features: int
    n_compared: int | None
    n_drifted: int
    computed_at: datetime
    age_s: float
    origin: Literal["artifacts", "check"] = Field(description="made by the pipeline, or by a worker's scheduled check")
    last_check: DriftCheckOut | None = Field(description="null when no worker has checked")
    reference: dict[str, str | int | None]
    current: dict[str, str | int | None]
    features: list[DriftFeatureOut] = Field(description="those that drifted most first")
    probabilities: list[DriftFeatureOut] = Field(description="the predicted ones, compared in the same way")
    probabilities_reference: dict[str, str | int | None] = Field(
        description="the earlier predictions they are compared with: of the same model where it has made enough"
    )


class QualityQuery(Params):
    """Which matches, and below how many of them scores would be noise."""

    days: int = Field(365, ge=1, le=3650, description="matches kicked off in the last so many days")
    min_n: int = Field(30, ge=2, le=100_000, description="matches below which scores say too_few")


class EstimateOut(Out):
    """A mean over matches and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class BinOut(Out):
    """Probabilities of one range, what happened, and the Wilson 95 % interval of the frequency."""

    low: float
    high: float
    n: int
    forecast: float
    frequency: float
    frequency_low: float
    frequency_high: float


class VersionMoneyOut(Out):
    """One unit on the best edge of each match where it is at least `value_edge`, at the odds recorded in the row."""

    n_bets: int
    n_wins: int
    hit_rate: float | None
    staked: float
    profit: float
    roi_pct: float | None
    roi_ci_low: float | None = Field(description="95 %, normal approximation over bets")
    roi_ci_high: float | None
    max_drawdown: float
    too_few: bool
    n_closing: int = Field(description="bets with a closing price")
    closing_value_pct: EstimateOut | None = Field(
        description="closing-line value: fair closing probability times the price taken, minus one; null below min_bets"
    )


class VersionQualityOut(Out):
    """One model version; scores are null when there are too few matches."""

    model_name: str
    model_version: str
    role: Literal["answered", "shadow"] = Field(description="whether callers got its answers")
    aliases: list[str] = Field(description="under which it answered")
    state: Literal["ok", "too_few"]
    n: int = Field(description="matches; of several predictions of one match by one version the last before kick-off")
    log_loss: EstimateOut | None
    brier: EstimateOut | None = Field(description="summed over the three outcomes: 0 to 2")
    rps: EstimateOut | None
    ece: float | None = Field(description="expected calibration error over all three outcomes' probabilities")
    ece_floor: float | None = Field(
        description="ECE of a perfect forecaster with these probabilities, by chance alone: one near it shows no error"
    )
    bins: list[BinOut]
    money: VersionMoneyOut


class VersionOut(Out):
    """A model version."""

    model_name: str
    model_version: str


class ComparisonOut(Out):
    """Shadow minus the version that answered, paired by match: below zero the shadow is better."""

    answered: VersionOut
    shadow: VersionOut
    state: Literal["ok", "too_few"]
    n: int
    log_loss: EstimateOut | None
    brier: EstimateOut | None
    rps: EstimateOut | None


class QualityOut(Out):
    """Live predictions that were settled, scored by model version."""

    state: Literal["ok", "no_data", "not_configured"] = Field(
        description="no_data: nothing is settled in the window; not_configured: there is no ledger"
    )
    days: int
    min_n: int
    min_bets: int
    value_edge: float
    intervals: str = Field(description="how the intervals were computed")
    computed_at: datetime
    settled_at: datetime | None = Field(description="when the newest result came into the ledger")
    settled_age_s: float | None
    n_waiting: int = Field(description="predictions without a result yet")
    n_late: int = Field(description="predictions made after kick-off, which no score counts")
    items: list[VersionQualityOut]
    comparisons: list[ComparisonOut]


class MeanScoresOut(Out):
    """Mean scores of one version, smaller is better."""

    log_loss: float
    brier: float
    rps: float
    ece: float = Field(description="expected calibration error")
    ece_floor: float = Field(description="ECE of a perfect forecaster with these probabilities, by chance alone")


class PairedScoresOut(Out):
    """Both versions on the same matches; differences are candidate minus champion: below zero is better."""

    n: int
    verdict: Literal["better", "not_worse", "worse", "undecided", "too_few"]
    champion: MeanScoresOut | None
    candidate: MeanScoresOut | None
    log_loss: EstimateOut | None = Field(description="paired difference; it makes the verdict")
    brier: EstimateOut | None
    rps: EstimateOut | None


class VersionFactsOut(Out):
    """What a version is and costs."""

    version: str
    trained_until: datetime | None
    n_features: int
    n_golden_rows: int
    drift_psi: float | None = Field(
        description="largest population stability index of its probabilities, the last year beside the time before; "
        "null when there are too few matches"
    )
    ms_one_row: float
    ms_64_rows: float
    memory_mb: float = Field(description="what one more copy takes in a worker")


class ModelComparisonOut(Out):
    """A candidate beside the champion, as it was found and kept."""

    compared_at: datetime
    actor: str
    model_name: str
    has_passed: bool
    objections: list[str] = Field(description="what speaks against a promotion; empty when it has passed")
    hold_out_since: datetime | None = Field(description="matches from here on are new to both versions")
    hold_out: PairedScoresOut
    live: PairedScoresOut = Field(description="settled predictions of the last year that the ledger has of both")
    champion: VersionFactsOut
    candidate: VersionFactsOut


class PromotionOut(Out):
    """One move of an alias."""

    asked_at: datetime
    actor: str
    action: Literal["promote", "rollback"]
    model_name: str
    alias: str
    from_version: str | None
    to_version: str
    because: str | None
    has_moved: bool | None = Field(description="null while nobody knows what came of it")
    detail: str | None = Field(description="why the alias has not moved")


class ModelVersionsOut(Out):
    """What is served, what was compared, and what was promoted."""

    state: Literal["ok", "not_configured"] = Field(description="not_configured: there is no ledger")
    served: list[ModelInfoOut]
    comparisons: list[ModelComparisonOut] = Field(description="the newest of each pair of versions, newest first")
    promotions: list[PromotionOut] = Field(description="newest first")


class PromoteIn(In):
    """A promotion of the champion: to a version, or back to the one before."""

    version: str | None = Field(None, pattern="^[0-9]{1,9}$", description="version to promote; null for a rollback")
    rollback: bool = Field(default=False, description="back to the version before the last promotion")
    because: str | None = Field(
        None,
        min_length=3,
        max_length=500,
        description="reason; with one, a version that has not passed is promoted too",
    )

    @model_validator(mode="after")
    def _has_one_aim(self) -> Self:
        if (self.version is None) != self.rollback:
            raise ValueError("give a version, or rollback=true")
        return self


class RefreshOut(Out):
    """What is served after the look."""

    snapshot_id: str | None = Field(description="what is served now; null when nothing could be opened yet")
    changed: bool = Field(description="whether this look brought a new snapshot")
    fault: str | None = Field(description="why the newest artifacts are not the ones served; null when they are")


class SnapshotEventOut(BaseModel):
    """Event `snapshot`: these artifacts are being served from now on."""

    id: str
    built_at: AwareDatetime
    source: str
    stale: bool = Field(description="newer artifacts could not be opened")


class ModelEventOut(BaseModel):
    """Event `model`: the newest version that workers hold under an alias."""

    alias: str
    version: str | None = Field(description="null when no living worker holds one")


class MatchesEventOut(BaseModel):
    """Events `odds` and `predictions`: these matches differ from the snapshot before."""

    snapshot: str
    match_ids: list[int] = Field(description="matches to come first, by kick-off")
    total: int | None = Field(description="how many matches changed; null when they could not be compared")
    truncated: bool = Field(description="more matches changed than are listed")
