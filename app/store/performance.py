"""How model and value bets did on exactly the selected matches, as series."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from app.domain import scoring
from app.domain.curve import CurveBets, curve
from app.domain.outcomes import Flags, Floats, one_hot
from app.domain.promise import compare_promise
from app.domain.roi import Totals, closing_line, interval
from app.domain.staking import settle
from app.domain.statistics import discoveries, edges_around, grid, histogram, p_value
from app.domain.vocabulary import Staking
from app.store import selection as store_selection
from app.store.database import Columns, Connection, fetch_columns
from app.store.selection import Selection
from app.store.snapshot import Snapshot

_BETS = """
SELECT datediff('day', DATE '1970-01-01', kickoff_utc::DATE) AS day, region, profit, kelly_profit, kelly_stake, won,
    best_price, best_edge, clv
FROM cards WHERE {where} AND profit IS NOT NULL ORDER BY kickoff_utc, match_id
"""
_JUDGED = """
SELECT proba_home, proba_draw, proba_away, fair_home, fair_draw, fair_away,
    list_position(['home', 'draw', 'away'], outcome) - 1 AS outcome
FROM cards WHERE {where} AND outcome IS NOT NULL AND status = 'finished' AND NOT in_sample
"""
_EDGES = "SELECT best_edge FROM cards WHERE {where} AND best_edge IS NOT NULL AND NOT in_sample"
# the best outcome of every match that could be bet on, whatever its edge
_PROMISES = """
SELECT best_edge AS edge, best_price AS price, best_outcome = outcome AS won, edge_at_best, price_at_best,
    outcome_at_best = outcome AS won_at_best
FROM cards WHERE {where} AND outcome IS NOT NULL AND status = 'finished' AND NOT in_sample AND NOT too_little_history
"""
_OUTCOMES = ("home", "draw", "away")
_EDGE_BOUNDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
_N_BINS, _MIN_IN_BIN = 12, 20
_N_CELLS = 25
_MIN_REGION_BETS = 30  # fewer make bars as wide as the chart
_EPOCH = date(1970, 1, 1)

Member = Any


@dataclass(frozen=True, slots=True)
class _Settled:
    """Settled value bets in the order of their matches; each field (n,)."""

    bets: CurveBets
    won: Flags
    region: npt.NDArray[Any]
    clv: Floats

    def groups(self, names: list[str], group: npt.NDArray[Any], min_bets: int) -> list[dict[str, Member]]:
        """ROI by group, `group` (n,) being places in `names`; groups without a bet are left out."""
        present = np.unique(group).tolist()
        parts = [self._totals(group == place) for place in present]
        totals = (
            Totals(*(np.concatenate(fields) for fields in zip(*map(_fields, parts), strict=True))) if parts else None
        )
        return _group_members([names[place] for place in present], totals, min_bets) if totals else []

    def _totals(self, chosen: Flags) -> Totals:
        return Totals.from_bets(self.bets.stake[chosen], self.bets.profit[chosen], self.won[chosen])


async def selection_performance(snapshot: Snapshot, selection: Selection, staking: Staking) -> Mapping[str, Member]:
    """All series of the selected matches; rows in sample never count."""
    return await snapshot.database.run(lambda cursor: _of(cursor, snapshot, selection, staking))


def _of(cursor: Connection, snapshot: Snapshot, selection: Selection, staking: Staking) -> Mapping[str, Member]:
    where, params = store_selection.fixtures_condition(cursor, selection)
    settled = _settled(fetch_columns(cursor, _BETS.format(where=where), params), staking)
    judged = fetch_columns(cursor, _JUDGED.format(where=where), params)
    edges = fetch_columns(cursor, _EDGES.format(where=where), params)["best_edge"]
    return {
        "n_bets": len(settled.won),
        "n_judged": len(judged["outcome"]),
        "curve": _curve_members(settled.bets),
        "reliability": _reliability(judged),
        "regions": _regions(settled, snapshot.rules.min_bets),
        "edges": _by_edge(settled, snapshot.rules.min_bets),
        "edge_bars": [asdict(bar) for bar in histogram(edges, edges_around(snapshot.rules.value_edge, 0.025, 8, 18))],
        **_promises(fetch_columns(cursor, _PROMISES.format(where=where), params), snapshot.rules.value_edge),
        "market": _market(judged),
        "closing": _closing(settled.clv, snapshot.rules.min_bets),
    }


def _settled(found: Columns, staking: Staking) -> _Settled:
    is_flat = staking is Staking.FLAT
    price = found["best_price"]
    bets = CurveBets(
        day=found["day"],
        stake=np.ones(len(price)) if is_flat else found["kelly_stake"],
        profit=found["profit"] if is_flat else found["kelly_profit"],
        price=price,
        edge=found["best_edge"],
    )
    clv = np.ma.filled(found["clv"].astype(np.float64), np.nan)
    return _Settled(bets, found["won"].astype(np.bool_), np.asarray(found["region"]), clv)


def _curve_members(bets: CurveBets) -> list[dict[str, Member]]:
    found = curve(bets)
    days = [_EPOCH + timedelta(days=day) for day in found.day.tolist()]
    figures = {name: getattr(found, name).tolist() for name in ("n_bets", "profit", "expected", "spread", "drawdown")}
    return [dict(zip(("day", *figures), point, strict=True)) for point in zip(days, *figures.values(), strict=True)]


def _reliability(judged: Columns) -> list[dict[str, Member]]:
    happened = one_hot(judged["outcome"].astype(np.int64))
    bins = scoring.reliability(_matrix(judged, "proba").ravel(), happened.ravel(), _N_BINS)
    return [asdict(found) for found in bins if found.n >= _MIN_IN_BIN]


def _regions(settled: _Settled, min_bets: int) -> list[dict[str, Member]]:
    names, place = np.unique(settled.region.astype(str), return_inverse=True)
    rows = settled.groups(names.tolist(), place, max(min_bets, _MIN_REGION_BETS))
    return sorted((row for row in rows if row["roi_pct"] is not None), key=lambda row: -row["roi_pct"])


def _by_edge(settled: _Settled, min_bets: int) -> list[dict[str, Member]]:
    names = ["below 0 %"]
    names += [f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in pairwise(_EDGE_BOUNDS)]
    names.append(f"above {100 * _EDGE_BOUNDS[-1]:.0f} %")
    return settled.groups(names, np.searchsorted(_EDGE_BOUNDS, settled.bets.edge, side="right"), min_bets)


def _fields(totals: Totals) -> list[Floats]:
    return [getattr(totals, name) for name in Totals.__dataclass_fields__]


def _group_members(names: list[str], totals: Totals, min_bets: int) -> list[dict[str, Member]]:
    found = interval(totals, min_bets)
    real = discoveries(p_value(found.roi_pct, found.low, found.high))
    return [
        {
            "name": name,
            "n_bets": int(totals.n_bets[i]),
            "profit": float(totals.profit[i]),
            "roi_pct": _number(found.roi_pct[i]),
            "roi_ci_low": _number(found.low[i]),
            "roi_ci_high": _number(found.high[i]),
            "is_significant": bool(real[i]),
        }
        for i, name in enumerate(names)
    ]


def _promises(found: Columns, value_edge: float) -> dict[str, Member]:
    return {
        "promise": _promise(found, ("edge", "price", "won"), value_edge),
        "promise_at_best": _promise(found, ("edge_at_best", "price_at_best", "won_at_best"), value_edge),
    }


def _promise(found: Columns, names: tuple[str, str, str], value_edge: float) -> dict[str, Member]:
    edge, price = (np.ma.filled(found[name].astype(np.float64), np.nan) for name in names[:2])
    known = ~np.isnan(edge)
    won = np.ma.filled(found[names[2]], fill_value=False)[known].astype(np.bool_)
    promise = compare_promise(edge[known], settle(np.ones(int(known.sum())), price[known], won), value_edge)
    return asdict(promise) | {"is_kept": promise.is_kept}


def _market(judged: Columns) -> dict[str, Member]:
    fair, model = _matrix(judged, "fair"), _matrix(judged, "proba")
    priced = ~np.isnan(fair).any(axis=1)
    outcome = judged["outcome"].astype(np.int64)[priced]
    return {
        "n": len(outcome),
        "model": _scores(model[priced], outcome),
        "market": _scores(fair[priced], outcome),
        "n_cells": _N_CELLS,
        "cells": grid(fair[priced].ravel(), model[priced].ravel(), _N_CELLS),
    }


def _scores(probabilities: Floats, outcome: npt.NDArray[np.int64]) -> dict[str, float] | None:
    if not len(outcome):
        return None
    scores = asdict(scoring.score(probabilities, outcome))
    return {name: value for name, value in scores.items() if name != "n"}


def _closing(values: Floats, min_bets: int) -> dict[str, Member]:
    known, found = values[~np.isnan(values)], closing_line(values, min_bets)
    return {
        "n": found.n_clv,
        "mean_pct": found.clv_pct,
        "ci_low": found.clv_ci_low,
        "ci_high": found.clv_ci_high,
        "share_positive": float((known > 0).mean()) if len(known) else None,
        "bars": [asdict(bar) for bar in histogram(known, edges_around(0.0, 0.02, 10, 10))] if len(known) else [],
    }


def _matrix(found: Columns, name: str) -> Floats:
    return np.column_stack([np.ma.filled(found[f"{name}_{side}"].astype(np.float64), np.nan) for side in _OUTCOMES])


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
