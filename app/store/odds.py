"""The newest 1X2 odds of each match: as a list, and in memory for live predictions."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from app.store.database import Connection, fetch_columns
from app.store.fields import Listing, columns, instants, outcome_columns, per_outcome, struct_column

_SHAPE = (
    columns("match_id")
    | struct_column("odds", outcome_columns("odds"), per_outcome("odds"))
    | columns("bookmaker", "event_url")
    | instants("captured_at")
    | columns("overround")
)


@dataclass(frozen=True, slots=True)
class Odds:
    """The odds of one match and when they were collected; all None when there are none."""

    home: float | None
    draw: float | None
    away: float | None
    captured_at: datetime | None


def all_odds() -> Listing:
    """The odds of every match that has any, by kick-off."""
    return Listing(_SHAPE, "cards WHERE odds_home IS NOT NULL")


_ALL = """
SELECT match_id, odds_home, odds_draw, odds_away, epoch_us(captured_at) AS captured_us
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

    def find(self, match_id: int) -> Odds | None:
        """The odds of one match; None when there is no such match."""
        at = int(self._sorted_ids.searchsorted(match_id))
        if at == len(self._sorted_ids) or self._sorted_ids[at] != match_id:
            return None
        home, draw, away = self._odds[at].tolist()
        if home != home:  # NaN  # noqa: PLR0124
            return _NONE
        return Odds(home, draw, away, _EPOCH + timedelta(microseconds=int(self._captured_us[at])))


def read_prices(connection: Connection) -> Prices:
    """Those of the table `cards`."""
    found = fetch_columns(connection, _ALL)
    odds = [np.ma.filled(found[f"odds_{side}"], np.nan) for side in ("home", "draw", "away")]
    return Prices(
        np.asarray(found["match_id"], dtype=np.int64),
        np.column_stack(odds).astype(np.float64),
        np.ma.filled(found["captured_us"], 0).astype(np.int64),
    )
