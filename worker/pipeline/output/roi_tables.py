"""The tables of money that analysts read: ROI overall, by region and day, by threshold, by tournament and by month."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from app.artifacts import contract
from app.artifacts.columns import MONEY_COLUMNS
from app.domain import running
from app.domain.roi import closing_line, summarise
from app.domain.vocabulary import Staking
from app.store.money import MoneyRules
from worker.pipeline.output.value_bets import SettledMatches

THRESHOLDS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
_EXTRA_COLUMNS: Mapping[str, pa.DataType] = {
    "region": pa.string(),
    "tournament": pa.string(),
    "month": pa.string(),
    "settled_until": pa.timestamp("s", tz="UTC"),
    "threshold": pa.float64(),
}
_MORE_COLUMNS: Mapping[str, pa.DataType] = {
    "average_odds": pa.float64(),
    "mean_edge_pct": pa.float64(),
    "max_drawdown": pa.float64(),
    "n_clv": pa.int64(),
    "clv_pct": pa.float64(),
    "clv_ci_low": pa.float64(),
    "clv_ci_high": pa.float64(),
    "cumulative_profit": pa.float64(),
}
Row = dict[str, Any]


def write_roi_tables(
    settled: SettledMatches, regions: list[str], folder: Path, now: datetime, rules: MoneyRules
) -> None:
    """Write the five tables of flat stakes and, as `*_kelly.csv`, the same of fractional Kelly stakes."""
    for staking, names in ((Staking.FLAT, contract.MONEY), (Staking.KELLY, contract.MONEY_KELLY)):
        tables = _Tables(settled, now, rules, staking)
        makers: tuple[Callable[[], Iterator[Row]], ...] = (
            lambda tables=tables: tables.by_region(regions),  # type: ignore[misc] # a default binds the loop's value
            tables.overall,
            tables.by_threshold,
            tables.by_tournament,
            tables.by_month,
        )
        for name, make in zip(names, makers, strict=True):
            _write(list(make()), folder / name)


class _Tables:
    """The five tables under one staking."""

    def __init__(self, settled: SettledMatches, now: datetime, rules: MoneyRules, staking: Staking) -> None:
        self._settled = settled
        self._now = now
        self._rules = rules
        self._staking = staking

    def overall(self) -> Iterator[Row]:
        yield {"settled_until": self._now, "threshold": self._rules.value_edge, **self._money(self._settled)}

    def by_threshold(self) -> Iterator[Row]:
        for threshold in THRESHOLDS:
            yield {"threshold": threshold, **self._money(self._settled, threshold)}

    def by_tournament(self) -> Iterator[Row]:
        pairs = sorted(set(zip(self._settled.region.tolist(), self._settled.tournament.tolist(), strict=True)))
        for region, tournament in pairs:
            mine = (self._settled.region == region) & (self._settled.tournament == tournament)
            yield {"region": region, "tournament": tournament, **self._money(self._settled.select(mine))}

    def by_month(self) -> Iterator[Row]:
        months = self._settled.settled_us.astype("datetime64[us]").astype("datetime64[M]")
        profit = 0.0
        for month in np.unique(months):
            # matches are in the order of their settlement
            row = self._money(self._settled.select(slice(*np.searchsorted(months, [month, month + 1]))))
            profit += row["profit"]
            yield {"month": str(month), **row, "cumulative_profit": profit}

    def by_region(self, regions: list[str]) -> Iterator[Row]:
        """Running totals at the end of each day on which a region's bet was settled, and as of now."""
        for region in regions:
            yield from self._region(region, self._settled.select(self._settled.region == region))

    def _region(self, region: str, settled: SettledMatches) -> Iterator[Row]:
        bets = settled.bets(self._rules.value_edge)
        stake = bets.stake(self._staking, self._rules)
        results = running.RegionBets(bets.settled_us, stake, bets.profit(stake), bets.won, bets.closing_edge)
        now_us = int(self._now.timestamp()) * 1_000_000
        columns = running.by_day(results, settled.settled_us, now_us, self._rules.min_bets)
        ends = columns.pop("settled_us")
        for i, end in enumerate(ends.tolist()):
            known = {name: values[i] for name, values in columns.items()}
            yield {"region": region, "settled_until": datetime.fromtimestamp(end / 1e6, UTC), **known}

    def _money(self, settled: SettledMatches, value_edge: float | None = None) -> Row:
        bets = settled.bets(self._rules.value_edge if value_edge is None else value_edge)
        stake = bets.stake(self._staking, self._rules)
        summary = summarise(stake, bets.profit(stake), bets.won, self._rules.min_bets)
        return {
            "n_matches": len(settled),
            **{name: getattr(summary, name) for name in MONEY_COLUMNS if name != "n_matches"},
            "average_odds": _mean(bets.odds),
            "mean_edge_pct": _mean(100 * bets.edge),
            "max_drawdown": summary.max_drawdown,
            **asdict(closing_line(bets.closing_edge, self._rules.min_bets)),
        }


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _write(rows: list[Row], path: Path) -> None:
    known = {**_EXTRA_COLUMNS, **MONEY_COLUMNS, **_MORE_COLUMNS}
    present = rows[0] if rows else dict.fromkeys(MONEY_COLUMNS)
    columns = {
        name: pa.array([row[name] for row in rows], kind, from_pandas=True)
        for name, kind in known.items()
        if name in present
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pa_csv.write_csv(pa.table(columns), path)
