"""Results of settled value bets."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from app.schemas.cards import CardFilter
from app.schemas.wire import Out, SnapshotOut


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
