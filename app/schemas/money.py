"""Results of settled value bets."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

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
