"""The newest 1X2 odds of each match: as a list, and in memory for live predictions."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from app.domain import consensus
from app.domain.outcomes import OUTCOMES
from app.store.database import Connection, fetch_columns
from app.store.fields import Listing, columns, instants, outcome_columns, per_outcome, struct_column

_SHAPE = (
    columns("match_id")
    | struct_column("odds", outcome_columns("odds"), per_outcome("odds"))
    | columns("bookmaker", "event_url")
    | instants("captured_at")
    | columns("overround")
)


Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of one match and when they were collected; all None when there are none."""

    home: float | None
    draw: float | None
    away: float | None
    captured_at: datetime | None


@dataclass(frozen=True, slots=True)
class MarketView:
    """What the bookmakers say of a match, and how much it counts beside the model; None where none does."""

    market: Triple | None
    model_exponent: float
    market_exponent: float

    def pool(self, model: Triple) -> Triple:
        """The consensus with the probabilities of a model: these themselves where there is no market."""
        market = np.full((1, 3), np.nan) if self.market is None else np.array([self.market])
        exponents = np.array([self.model_exponent]), np.array([self.market_exponent])
        home, draw, away = consensus.pool(np.array([model]), market, *exponents)[0].tolist()
        return home, draw, away


def all_odds() -> Listing:
    """The odds of every match that has any, by kick-off."""
    return Listing(_SHAPE, "cards WHERE odds_home IS NOT NULL")


_ALL = """
SELECT match_id, odds_home, odds_draw, odds_away, epoch_us(captured_at) AS captured_us,
    market_home, market_draw, market_away, model_exponent, market_exponent
FROM cards
ORDER BY match_id
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NONE = Odds(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Prices:
    """1X2 odds by match id, and when they were collected."""

    _sorted_ids: npt.NDArray[np.int64]
    _odds: npt.NDArray[np.float64]  # (n, 3): home, draw, away; NaN where there are none
    _captured_us: npt.NDArray[np.int64]  # since 1970
    _market: npt.NDArray[np.float64]  # (n, 3), NaN where there is none
    _exponents: npt.NDArray[np.float64]  # (n, 2): of the model and of the market

    def find_market(self, match_id: int) -> MarketView | None:
        """What the bookmakers say of one match; None when there is no such match."""
        at = self._place(match_id)
        if at is None:
            return None
        home, draw, away = self._market[at].tolist()
        model, market = self._exponents[at].tolist()
        return MarketView(None if home != home else (home, draw, away), model, market)  # NaN  # noqa: PLR0124

    def _place(self, match_id: int) -> int | None:
        at = int(self._sorted_ids.searchsorted(match_id))
        return at if at < len(self._sorted_ids) and self._sorted_ids[at] == match_id else None

    def find(self, match_id: int) -> Odds | None:
        """The odds of one match; None when there is no such match."""
        at = self._place(match_id)
        if at is None:
            return None
        home, draw, away = self._odds[at].tolist()
        if home != home:  # NaN  # noqa: PLR0124
            return _NONE
        return Odds(home, draw, away, _EPOCH + timedelta(microseconds=int(self._captured_us[at])))


def read_prices(connection: Connection) -> Prices:
    """Those of the table `cards`."""
    found = fetch_columns(connection, _ALL)

    def matrix(*names: str) -> npt.NDArray[np.float64]:
        return np.column_stack([np.ma.filled(found[name].astype(np.float64), np.nan) for name in names])

    return Prices(
        np.asarray(found["match_id"], dtype=np.int64),
        matrix(*(f"odds_{side}" for side in OUTCOMES)),
        np.ma.filled(found["captured_us"], 0).astype(np.int64),
        matrix(*(f"market_{side}" for side in OUTCOMES)),
        matrix("model_exponent", "market_exponent"),
    )
