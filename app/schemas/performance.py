"""How the model did over a selection of matches, as series that a chart can draw."""

from datetime import date

from pydantic import Field

from app.schemas.money import StakingName
from app.schemas.wire import Out, SnapshotOut


class CurvePointOut(Out):
    """State of all bets at the end of a day, units of the stake."""

    day: date = Field(description="of the kick-off, UTC")
    n_bets: int
    profit: float
    expected: float = Field(description="what the model's own probabilities promised")
    spread: float = Field(description="half-width of the 95 % range around `expected` when the model is right")
    drawdown: float = Field(description="deepest fall below the earlier peak since the point before")


class ReliabilityOut(Out):
    """Probabilities of one range and how often they came true, over all three outcomes."""

    low: float
    high: float
    n: int
    forecast: float = Field(description="mean probability")
    frequency: float = Field(description="share that happened")
    frequency_low: float = Field(description="Wilson 95 %")
    frequency_high: float


class GroupRoiOut(Out):
    """ROI of one group of bets."""

    name: str
    n_bets: int
    profit: float
    roi_pct: float | None = Field(description="null below min_bets")
    roi_ci_low: float | None
    roi_ci_high: float | None
    is_significant: bool = Field(description="ROI differs from 0 after Benjamini-Hochberg over all groups, 5 %")


class BarOut(Out):
    """How many values lie from `low` to `high`; null is an open end."""

    low: float | None
    high: float | None
    n: int


class ScoresOut(Out):
    """Proper scores of one forecaster, smaller is better."""

    log_loss: float
    brier: float
    rps: float
    ece: float


class MarketOut(Out):
    """Model and market (margin removed) on the same finished matches with odds, out of sample."""

    n: int
    model: ScoresOut | None
    market: ScoresOut | None
    n_cells: int = Field(description="cells on each side of `cells`")
    cells: list[tuple[int, int, int]] = Field(description="place of the market's, of the model's probability; count")


class ClosingOut(Out):
    """Closing-line value of the settled value bets that have closing odds: fair closing probability * price - 1."""

    n: int
    mean_pct: float | None
    ci_low: float | None = Field(description="95 %")
    ci_high: float | None
    share_positive: float | None
    bars: list[BarOut]


class PerformanceOut(Out):
    """How model and value bets did in exactly the filtered matches; in-sample rows never count."""

    snapshot: SnapshotOut
    staking: StakingName
    value_edge: float
    min_bets: int
    n_bets: int
    n_judged: int = Field(description="finished matches out of sample: those of `reliability`")
    curve: list[CurvePointOut]
    reliability: list[ReliabilityOut]
    regions: list[GroupRoiOut]
    edges: list[GroupRoiOut] = Field(description="ROI by the edge promised")
    edge_bars: list[BarOut] = Field(description="best edge of every match that has odds; the threshold is a boundary")
    market: MarketOut
    closing: ClosingOut
