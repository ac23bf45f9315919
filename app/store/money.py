"""The money columns of every card, computed once per snapshot by the formulas of the domain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import pyarrow as pa

from app.domain import odds as odds_of
from app.domain import roi, staking
from app.domain.consensus import PoolWeights, weights_at
from app.domain.outcomes import Flags, Floats, Indices
from app.domain.prices import stands_with
from app.domain.vocabulary import EdgeFrom
from app.settings import Settings
from app.store.database import Columns, Connection, fetch_columns
from app.store.market import read_market

_OUTCOMES = ("home", "draw", "away")
_INPUT = """
SELECT match_id, epoch_us(kickoff_utc) AS kickoff_us, proba_home, proba_draw, proba_away,
    odds_home, odds_draw, odds_away, closing_home, closing_draw, closing_away, n_history_home, n_history_away, outcome,
    coalesce(outcome IS NOT NULL AND status = 'finished' AND NOT in_sample AND captured_at <= kickoff_utc, false)
        AS may_settle
FROM predictions LEFT JOIN odds USING (match_id)
"""


@dataclass(frozen=True, slots=True)
class MoneyRules:
    """When a bet is worth taking, how much is staked on it, and how many bets make a figure."""

    value_edge: float = 0.05
    kelly_fraction: float = staking.KELLY_FRACTION
    kelly_cap: float = staking.KELLY_CAP
    min_bets: int = roi.MIN_BETS
    min_history: int = odds_of.MIN_HISTORY
    edge_from: EdgeFrom = EdgeFrom.CONSENSUS

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the rules of these settings, for the cards and for the pipeline's ROI tables alike."""
        return cls(
            settings.value_edge,
            settings.kelly_fraction,
            settings.kelly_cap,
            settings.min_bets,
            settings.min_history,
            EdgeFrom(settings.edge_from),
        )

    def read_edge_from(self, weights: Sequence[PoolWeights]) -> EdgeFrom:
        """Whose probabilities edges are computed from: without weights of a consensus they are the model's."""
        return self.edge_from if weights else EdgeFrom.MODEL


@dataclass(frozen=True, slots=True)
class _Matches:
    """What is known of n matches; `outcome` is -1 where no bet could be settled on it.

    `chances` are the probabilities that edges come from, the model's or the consensus.
    """

    proba: Floats
    chances: Floats
    odds: Floats
    best_odds: Floats
    closing: Floats
    too_little_history: Flags
    outcome: Indices


def money_table(connection: Connection, rules: MoneyRules, weights: Sequence[PoolWeights], at: datetime) -> pa.Table:
    """What prices say beside the model, one row a match; null where it has none.

    This is the one place where an edge, a value bet, a stake and a settled bet are computed.

    Args:
        connection: has the relations predictions, odds and prices.
        rules: when a bet is taken.
        weights: of the consensus, as the artifacts have them; without them edges are the model's.
        at: the time as of which the weights are known.
    """
    found = fetch_columns(connection, _INPUT)
    too_little = odds_of.too_little_history(
        fill_money(found, "n_history_home"), fill_money(found, "n_history_away"), rules.min_history
    )
    proba = _matrix(found, "proba")
    match_id = np.asarray(found["match_id"], dtype=np.int64)
    kickoff_us = np.asarray(found["kickoff_us"], dtype=np.int64)
    market = read_market(connection, match_id, kickoff_us, weights_at(weights, at))
    consensus = market.pool(proba) if weights else np.full_like(proba, np.nan)
    odds = _matrix(found, "odds")
    stands = stands_with(odds, market.middle)
    matches = _Matches(
        proba=proba,
        chances=consensus if rules.read_edge_from(weights) is EdgeFrom.CONSENSUS else proba,
        # a price that the other books contradict is nobody's offer
        odds=np.where(stands[:, None], odds, np.nan),
        best_odds=market.best_odds,
        closing=_matrix(found, "closing"),
        too_little_history=too_little,
        # a bet settles only on what could have been known: out of sample, at a price from before the kick-off
        outcome=np.where(found["may_settle"], np.ma.filled(found["outcome"], -1), -1).astype(np.int8),
    )
    columns: dict[str, pa.Array[Any]] = {
        "match_id": pa.array(match_id),
        "too_little_history": pa.array(too_little),
        "is_contradicted": pa.array(~np.isnan(odds[:, 0]) & ~stands),
    }
    numbers = {
        **_by_outcome("market", market.probabilities),
        **_by_outcome("consensus", consensus),
        **_by_outcome("best_odds", market.best_odds),
        "model_exponent": market.model_exponent,
        "market_exponent": market.market_exponent,
    }
    columns |= {name: pa.array(values, from_pandas=True) for name, values in numbers.items()}
    columns |= {f"best_bookmaker_{side}": market.best_bookmaker[i] for i, side in enumerate(_OUTCOMES)}
    return pa.table(columns | _money_columns(matches, rules) | _columns_at_best(matches, rules))


def _money_columns(matches: _Matches, rules: MoneyRules) -> "dict[str, pa.Array[Any]]":
    odds = matches.odds
    edges = odds_of.edge(matches.chances, odds)
    best, best_edge = odds_of.best_edge(edges)
    known: Flags = best >= 0
    price = np.where(known, odds[np.arange(len(odds)), np.maximum(best, 0)], np.nan)
    is_value = odds_of.is_value(best_edge, matches.too_little_history, rules.value_edge)
    kelly = staking.kelly_stake(best_edge, price, rules.kelly_fraction, rules.kelly_cap)
    stake = np.where(known & matches.too_little_history, 0.0, kelly)
    settled: Flags = is_value & (matches.outcome >= 0)
    won: Flags = settled & (best == matches.outcome)
    implied, fair = odds_of.implied_probabilities(odds), odds_of.fair(odds)
    numbers = {
        "overround": odds_of.overround(odds),
        "best_edge": best_edge,
        "best_price": price,
        "kelly_stake": stake,
        "profit": np.where(settled, staking.settle(staking.flat_stake(price), price, won), np.nan),
        "clv": np.where(settled, odds_of.closing_value(price, matches.closing, best), np.nan),
        "kelly_profit": np.where(settled, staking.settle(stake, price, won), np.nan),
        **_by_outcome("edge", edges),
        **_by_outcome("model_edge", odds_of.edge(matches.proba, odds)),
        **_by_outcome("implied", implied),
        **_by_outcome("fair", fair),
    }
    return {name: pa.array(values, from_pandas=True) for name, values in numbers.items()} | {
        "best_outcome": pa.array(best, mask=~known),
        "favourite": pa.array(np.argmin(odds, axis=1).astype(np.int8), mask=~known),
        "is_value": pa.array(is_value, mask=~known),
        "won": pa.array(won, mask=~settled),
        "is_judged": pa.array(known & ~matches.too_little_history & (matches.outcome >= 0)),
    }


def _columns_at_best(matches: _Matches, rules: MoneyRules) -> "dict[str, pa.Array[Any]]":
    """The same bet at the best sound price of each outcome: its edge, and what came of it."""
    odds = matches.best_odds
    best, edge = odds_of.best_edge(odds_of.edge(matches.chances, odds))
    known: Flags = best >= 0
    price = np.where(known, odds[np.arange(len(odds)), np.maximum(best, 0)], np.nan)
    is_value = odds_of.is_value(edge, matches.too_little_history, rules.value_edge)
    settled: Flags = is_value & (matches.outcome >= 0)
    won: Flags = settled & (best == matches.outcome)
    numbers = {
        "edge_at_best": edge,
        "price_at_best": price,
        "profit_at_best": np.where(settled, staking.settle(staking.flat_stake(price), price, won), np.nan),
    }
    return {name: pa.array(values, from_pandas=True) for name, values in numbers.items()} | {
        "outcome_at_best": pa.array(best, mask=~known),
        "is_value_at_best": pa.array(is_value, mask=~known),
    }


def region_roi_table(connection: Connection, sql: str, rules: MoneyRules) -> pa.Table:
    """Walk-forward ROI of each match's region, drawn towards that of all regions as of the match's own kick-off.

    Null below the least number of bets. With prior weight m the posterior of a mean over n bets is narrower than its
    sample interval by sqrt(n/(n+m)).
    """
    found = fetch_columns(connection, sql)
    n_bets = found["n_bets"].astype(np.float64)
    raw, overall = fill_money(found, "roi_pct"), fill_money(found, "overall_pct")
    shrunk = np.where(n_bets >= rules.min_bets, roi.shrink(raw, n_bets, overall), np.nan)
    narrower = np.sqrt(n_bets / (n_bets + roi.PRIOR_BETS))
    below, above = raw - fill_money(found, "roi_ci_low"), fill_money(found, "roi_ci_high") - raw
    numbers = {"roi_pct": shrunk, "ci_low": shrunk - below * narrower, "ci_high": shrunk + above * narrower}
    arrays = {name: pa.array(values, from_pandas=True) for name, values in numbers.items()}
    return pa.table({"match_id": pa.array(found["match_id"]), "n_bets": pa.array(found["n_bets"]), **arrays})


def fill_money(found: Columns, name: str) -> Floats:
    """A column as floats, NaN where it is null."""
    return np.asarray(np.ma.filled(found[name].astype(np.float64), np.nan), dtype=np.float64)


def _matrix(found: Columns, name: str) -> Floats:
    return np.column_stack([fill_money(found, f"{name}_{outcome}") for outcome in _OUTCOMES])


def _by_outcome(name: str, values: Floats) -> dict[str, Floats]:
    return {f"{name}_{outcome}": values[:, column] for column, outcome in enumerate(_OUTCOMES)}
