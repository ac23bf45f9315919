"""How good the ledger's predictions were."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.schemas.wire import Out, Params


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
