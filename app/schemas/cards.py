"""Match cards, the filter that every endpoint over matches shares, and SQL requests."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app.domain.vocabulary import Devig, EdgeFrom
from app.schemas.base import (
    AsOfQuery,
    DifferencesOut,
    Instant,
    ListQuery,
    Odds1X2Out,
    Out,
    Outcome,
    ProbabilitiesOut,
    SnapshotOut,
    Status,
)
from app.schemas.predictions import PredictionOut


class BestOddsOut(Out):
    """A price for each outcome; null where nobody's could be taken."""

    home: float | None
    draw: float | None
    away: float | None


class BestBookmakerOut(Out):
    """A bookmaker for each outcome."""

    home: str | None
    draw: str | None
    away: str | None


class CardMoneyOut(Out):
    """What the odds say beside the model; per outcome."""

    odds: Odds1X2Out
    bookmaker: str
    event_url: str | None
    captured_at: datetime
    odds_age_s: float = Field(
        ge=0, description="from the capture to kick-off; to `snapshot.built_at` for a match that begins after it"
    )
    overround: float = Field(description="sum of 1/odds, less one")
    implied: ProbabilitiesOut | None = Field(description="1/odds; null when a price makes it exceed one")
    fair: ProbabilitiesOut = Field(description="1/odds with the margin removed as `devig` says")
    edge_home: float = Field(description="p*odds-1, p as `edge_from` of the answer says")
    edge_draw: float
    edge_away: float
    model_edge_home: float = Field(description="the same with the model's own probability, whatever edges come from")
    model_edge_draw: float
    model_edge_away: float
    best_edge: float
    best_outcome: Outcome
    is_value: bool = Field(description="best edge at or above the threshold, and enough history")
    kelly_stake: float = Field(description="fractional, capped Kelly stake on the best outcome, share of bankroll")
    profit: float | None = Field(
        description="settled profit of one unit on the value bet; null when none, open, in sample, or priced too late"
    )
    best_odds: BestOddsOut = Field(
        description="highest sound price of each outcome that could be taken before kick-off, of any bookmaker"
    )
    best_bookmaker: BestBookmakerOut = Field(description="whose price that is")
    edge_at_best: float | None = Field(description="largest edge at those prices; null when there are none")
    outcome_at_best: Outcome | None = Field(description="its outcome")
    is_value_at_best: bool | None = Field(description="the rule of `is_value` at those prices")
    profit_at_best: float | None = Field(description="settled profit of one unit on that bet, as `profit`")


class RegionRoiRefOut(Out):
    """ROI of a card's region from bets settled before its kick-off (walk-forward)."""

    roi_pct: float | None = Field(description="shrunk to the mean of all regions; null when there are too few bets")
    n_bets: int
    ci_low: float | None = Field(description="95 %, of the shrunk figure")
    ci_high: float | None


class CardOut(PredictionOut):
    """One match: prediction, odds, edge."""

    too_little_history: bool = Field(
        description="a team has too few recent matches for the model to know it; such a match is no value bet"
    )
    hit: bool | None = Field(description="predicted equals outcome; null before the result")
    no_odds_reason: str | None = Field(
        description="why `money` is null, where the artifacts say it: `no_opening_price` (only the closing price is "
        "known), `contradicted_price` (other bookmakers contradict it), `no_price`"
    )
    market: ProbabilitiesOut | None = Field(
        description="what the bookmakers say: their fair probabilities pooled, each weighed by how sharp it has been; "
        "null without prices of several bookmakers"
    )
    consensus: ProbabilitiesOut | None = Field(
        description="model (`probabilities`) and market together; the model's where there is no market; null when the "
        "artifacts have no consensus"
    )
    model_minus_market: DifferencesOut | None = Field(
        description="where the model disagrees with the bookmakers: a difference, not value"
    )
    money: CardMoneyOut | None = Field(description="null when there are no odds")
    region_roi: RegionRoiRefOut | None


class CardsOut(Out):
    """A page of cards."""

    snapshot: SnapshotOut
    value_edge: float = Field(description="threshold of a value bet")
    edge_from: EdgeFrom = Field(description="whose probabilities edges, stakes and value bets come from")
    devig: Devig
    total: int = Field(description="cards that pass the filter")
    next_cursor: str | None
    items: list[CardOut]


def _sorted(values: tuple[str, ...]) -> tuple[str, ...]:
    """The same question in other words is the same question."""
    return tuple(sorted(set(values)))


Names = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20), AfterValidator(_sorted)]
Statuses = Annotated[tuple[Status, ...], Field(max_length=5), AfterValidator(_sorted)]


class CardFilter(AsOfQuery):
    """Which matches; the same names in every endpoint that filters."""

    region: Names = Field((), description="any of these; repeat the parameter for several")
    tournament: Names = Field((), description="any of these; repeat the parameter for several")
    status: Statuses = Field((), description="any of these; repeat the parameter for several")
    from_: Instant | None = Field(None, alias="from", description="kick-off at or after, RFC 3339")
    to: Instant | None = Field(None, description="kick-off before, RFC 3339")
    min_edge: float | None = Field(None, ge=-1, le=100, description="best edge at or above")
    min_region_roi: float | None = Field(
        None, ge=-100, le=1000, description="walk-forward region ROI, shrunk, at or above, %"
    )
    q: str | None = Field(
        None, max_length=100, description="part of a team, tournament or region name, whatever its case or accents"
    )
    value: bool = Field(default=False, description="value bets only")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class CardSort(StrEnum):
    """Order of cards."""

    KICKOFF = "kickoff"
    KICKOFF_DESC = "-kickoff"
    EDGE = "edge"
    EDGE_DESC = "-edge"


class CardsQuery(CardFilter, ListQuery):
    """Filter, order, page and form."""

    sort: CardSort = CardSort.KICKOFF
    devig: Devig = Field(Devig.POWER, description="method behind the fair probabilities")
    limit: int = Field(200, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=200, description="next_cursor of the page before")


class CardsSqlQuery(CardFilter):
    """Filter and order."""

    # refused with its reason, so it is not offered
    as_of: SkipJsonSchema[Instant | None] = None
    sort: CardSort = CardSort.KICKOFF
    limit: int | None = Field(None, ge=1, le=1_000_000, description="rows; all when left out")


class CardsSqlOut(Out):
    """A query of DuckDB."""

    sql: str = Field(description="runs as it is in scripts/sql and at POST /sql")


class FacetsQuery(CardFilter, ListQuery):
    """Filter and form."""


class SqlIn(BaseModel):
    """One query."""

    model_config = ConfigDict(strict=True, extra="forbid")

    sql: str = Field(min_length=1, max_length=20_000, description="one SELECT, FROM or EXPLAIN")
    format: Literal["json", "csv", "arrow"] | None = Field(None, description="instead of the Accept header")


class SqlColumnOut(Out):
    """A column of an answer."""

    name: str
    type: str = Field(description="as DuckDB names it")


class SqlOut(Out):
    """The answer of a query."""

    columns: list[SqlColumnOut]
    rows: list[list[Any]] = Field(description="values in the order of the columns")
