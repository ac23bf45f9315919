"""Settles value bets: what each match's best-edge outcome would have returned, flat and by fractional Kelly."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from app.domain import odds as odds_of
from app.domain.outcomes import OUTCOMES as SIDES
from app.domain.outcomes import Flags, Floats
from app.domain.staking import KELLY_CAP, KELLY_FRACTION, flat_stake, kelly_stake, settle
from app.domain.vocabulary import Staking
from app.store import tables
from app.store.database import open_connection

# Only what could have been known and done counts: a finished match, predicted by a model that had not seen its result,
# at a price from before the kick-off; `settle_matches` leaves out teams with too little history. A match is over two
# hours after it begins.
_SETTLED_MATCHES = """
SELECT match_id, region, tournament, outcome, epoch_us(kickoff_utc + INTERVAL 2 HOUR) AS settled_us,
    proba_home, proba_draw, proba_away, odds_home, odds_draw, odds_away, closing_home, closing_draw, closing_away,
    n_history_home::DOUBLE AS n_history_home, n_history_away::DOUBLE AS n_history_away
FROM predictions JOIN odds USING (match_id)
WHERE status = 'finished' AND outcome IS NOT NULL AND NOT in_sample AND captured_at <= kickoff_utc
ORDER BY settled_us, match_id
"""


@dataclass(frozen=True, slots=True)
class BettingRules:
    """When a bet is taken and how much of the bankroll fractional Kelly stakes on it."""

    value_edge: float = 0.05
    kelly_fraction: float = KELLY_FRACTION
    kelly_cap: float = KELLY_CAP
    min_bets: int = 20
    min_history: int = odds_of.MIN_HISTORY


@dataclass(frozen=True, slots=True)
class SettledMatches:
    """Matches in the order they were settled, each with its best-edge outcome; every field has shape (n,).

    `closing_edge` is the closing-line value of a unit bet, `fair closing probability * price taken - 1`; NaN without
    closing odds.
    """

    match_id: npt.NDArray[np.int64]
    region: npt.NDArray[np.str_]
    tournament: npt.NDArray[np.str_]
    settled_us: npt.NDArray[np.int64]
    edge: Floats
    odds: Floats
    won: Flags
    closing_edge: Floats

    def __len__(self) -> int:
        return len(self.match_id)

    def select(self, chosen: Flags | slice) -> Self:
        """The matches chosen."""
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def bets(self, value_edge: float) -> Self:
        """The matches whose best edge is at or above the threshold: one bet each."""
        return self.select(odds_of.is_value(self.edge, np.zeros(len(self), dtype=np.bool_), value_edge))

    def stake(self, staking: Staking, rules: BettingRules) -> Floats:
        """Stakes in units (flat) or in shares of a bankroll that is the same for every bet (Kelly)."""
        if staking is Staking.FLAT:
            return flat_stake(self.edge)
        return kelly_stake(self.edge, self.odds, rules.kelly_fraction, rules.kelly_cap)

    def profit(self, stake: Floats) -> Floats:
        """What those stakes returned."""
        return settle(stake, self.odds, self.won)


def settle_matches(predictions: Path, odds: Path, min_history: int = odds_of.MIN_HISTORY) -> SettledMatches:
    """Settle every finished match that was predicted out of sample and priced before kick-off."""
    connection = open_connection()
    try:
        tables.parquet(connection, [predictions], tables.PREDICTIONS).create_view("predictions")
        tables.parquet(connection, [odds], tables.ODDS).create_view("odds")
        columns_by_name = connection.execute(_SETTLED_MATCHES).fetchnumpy()
    finally:
        connection.close()
    columns = {name: _filled(values) for name, values in columns_by_name.items()}
    prices = _matrix(columns, "odds")
    best, best_edge = odds_of.best_edge(odds_of.edge(_matrix(columns, "proba"), prices))
    taken = prices[np.arange(len(prices)), best]
    judged = SettledMatches(
        match_id=columns["match_id"].astype(np.int64),
        region=columns["region"].astype(np.str_),
        tournament=columns["tournament"].astype(np.str_),
        settled_us=columns["settled_us"].astype(np.int64),
        edge=best_edge,
        odds=taken,
        won=np.asarray(best == columns["outcome"], dtype=np.bool_),
        closing_edge=odds_of.closing_value(taken, _matrix(columns, "closing"), best),
    )
    history = columns["n_history_home"], columns["n_history_away"]
    return judged.select(~odds_of.too_little_history(*history, min_history))


def _filled(values: Any) -> npt.NDArray[Any]:
    # DuckDB masks what is NULL; only closing prices and counts of history may be
    return np.asarray(values.filled(np.nan) if np.ma.isMaskedArray(values) else values)


def _matrix(columns: dict[str, npt.NDArray[np.generic]], name: str) -> Floats:
    return np.column_stack([columns[f"{name}_{side}"].astype(np.float64) for side in SIDES])
