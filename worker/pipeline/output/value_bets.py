"""Settles value bets: what each match's best-edge outcome would have returned, flat and by fractional Kelly."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from app.artifacts import contract
from app.domain import odds as odds_of
from app.domain.consensus import PoolWeights
from app.domain.outcomes import Flags, Floats
from app.domain.staking import flat_stake, kelly_stake, settle
from app.domain.vocabulary import Staking
from app.store import tables
from app.store.database import open_connection
from app.store.money import MoneyRules, money_table

# a match is over two hours after it begins
_SETTLED_MATCHES = """
SELECT match_id, region, tournament, epoch_us(kickoff_utc + INTERVAL 2 HOUR) AS settled_us, best_edge, best_price, won,
    clv
FROM predictions JOIN money USING (match_id) WHERE is_judged ORDER BY settled_us, match_id
"""
_NO_THRESHOLD = float("-inf")


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

    def stake(self, staking: Staking, rules: MoneyRules) -> Floats:
        """Stakes in units (flat) or in shares of a bankroll that is the same for every bet (Kelly)."""
        if staking is Staking.FLAT:
            return flat_stake(self.edge)
        return kelly_stake(self.edge, self.odds, rules.kelly_fraction, rules.kelly_cap)

    def profit(self, stake: Floats) -> Floats:
        """What those stakes returned."""
        return settle(stake, self.odds, self.won)


def settle_matches(
    folder: Path, now: datetime, rules: MoneyRules, weights: Sequence[PoolWeights] | None = None
) -> SettledMatches:
    """Settle every finished match of a folder that was predicted out of sample and priced before kick-off.

    The arithmetic is that of the cards: `app.store.money`. Weights that are not given are the folder's.
    """
    taken_anyway = MoneyRules(_NO_THRESHOLD, min_history=rules.min_history, edge_from=rules.edge_from)
    with closing(open_connection()) as connection:
        for name, file, columns in (
            ("predictions", contract.PREDICTIONS, tables.PREDICTIONS),
            ("odds", contract.ODDS, tables.ODDS),
        ):
            tables.parquet(connection, [folder / file], columns).create_view(name)
        tables.open_prices(connection, folder)
        weights = contract.read_consensus(folder) if weights is None else weights
        connection.register("money", money_table(connection, taken_anyway, weights, now))
        columns_by_name = connection.execute(_SETTLED_MATCHES).fetchnumpy()
    found = {name: _filled(values) for name, values in columns_by_name.items()}
    return SettledMatches(
        match_id=found["match_id"].astype(np.int64),
        region=found["region"].astype(np.str_),
        tournament=found["tournament"].astype(np.str_),
        settled_us=found["settled_us"].astype(np.int64),
        edge=found["best_edge"],
        odds=found["best_price"],
        won=found["won"].astype(np.bool_),
        closing_edge=found["clv"],
    )


def _filled(values: Any) -> npt.NDArray[Any]:
    # DuckDB masks what is NULL; only closing-line values may be
    return np.asarray(values.filled(np.nan) if np.ma.isMaskedArray(values) else values)
