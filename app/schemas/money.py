"""Results of settled value bets, and the performance of a selection of matches as series for charts."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from app.domain.vocabulary import EdgeFrom, Staking
from app.schemas.base import Out, SnapshotOut
from app.schemas.cards import CardFilter


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
    max_drawdown: float | None = Field(description="deepest fall of the running profit; null when unknown")
    n_clv: int | None = Field(description="bets whose closing odds are known")
    clv_pct: float | None = Field(
        description="mean closing-line value of these: fair closing probability times the price taken, less one, %"
    )
    clv_ci_low: float | None
    clv_ci_high: float | None


class RegionRoiOut(MoneyOut):
    """One region."""

    region: str
    settled_until: datetime


CiMethod = Literal["normal"]
_CI = "intervals are normal approximations over bets as independent units: app/domain/roi.py"


class RegionRoiListOut(Out):
    """Live-betting ROI by region: bets settled until each row's time."""

    snapshot: SnapshotOut
    ci_method: CiMethod = Field(description=_CI)
    in_sample: bool = Field(
        description="true: judging these very bets by these figures would manufacture profit; for bets after "
        "`as_of` they are out of sample"
    )
    bookmaker: str
    min_bets: int
    items: list[RegionRoiOut]


class RoiQuery(CardFilter):
    """Filter and staking."""

    staking: Staking = Staking.FLAT


class RoiOut(MoneyOut):
    """Result of the settled value bets in exactly the filtered matches."""

    snapshot: SnapshotOut
    staking: Staking
    value_edge: float
    edge_from: EdgeFrom = Field(description="whose probabilities edges come from")
    min_bets: int
    average_odds: float | None
    mean_edge_pct: float | None = Field(description="what the edges promised on these bets")
    ci_method: CiMethod = Field(description=_CI)
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


class CurvePointOut(Out):
    """State of all bets at the end of a day, units of the stake."""

    day: date = Field(description="of the kick-off, UTC")
    n_bets: int
    profit: float
    expected: float = Field(description="what the edges promised")
    spread: float = Field(description="half-width of the 95 % range around `expected` when the edges are true")
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
    ece_floor: float = Field(
        description="ECE of a perfect forecaster with these probabilities, by chance alone: one near it shows no error"
    )


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


class PromiseBinOut(Out):
    """Bets of one range of edges."""

    low: float | None = Field(description="null is an open end")
    high: float | None
    n: int
    promised: float = Field(description="mean edge")
    got: float = Field(description="mean profit of one unit")
    got_low: float | None = Field(description="95 %, normal approximation over bets")
    got_high: float | None


class PromiseOut(Out):
    """Profit of the best outcome of every judged match beside its edge, whether it was a value bet or not."""

    n: int
    slope: float | None = Field(description="of profit over edge, least squares: 1 when edges mean what they say")
    slope_low: float | None = Field(description="95 %, robust to the spread of long shots")
    slope_high: float | None
    is_kept: bool = Field(description="no range of 300 or more bets has its promise outside the interval of what came")
    bins: list[PromiseBinOut]
    n_value: int = Field(description="bets at the threshold or above")
    value_promised: float | None
    value_got: float | None
    value_low: float | None
    value_high: float | None


class PerformanceOut(Out):
    """How model and value bets did in exactly the filtered matches; in-sample rows never count."""

    snapshot: SnapshotOut
    staking: Staking
    value_edge: float
    edge_from: EdgeFrom = Field(description="whose probabilities edges come from")
    min_bets: int
    n_bets: int
    n_judged: int = Field(description="finished matches out of sample: those of `reliability`")
    curve: list[CurvePointOut]
    reliability: list[ReliabilityOut]
    regions: list[GroupRoiOut]
    edges: list[GroupRoiOut] = Field(description="ROI by the edge promised")
    edge_bars: list[BarOut] = Field(description="best edge of every match that has odds; the threshold is a boundary")
    promise: PromiseOut = Field(description="promised against got, at the bookmaker's price")
    promise_at_best: PromiseOut = Field(description="the same at the best sound price of all bookmakers")
    market: MarketOut
    closing: ClosingOut
