"""Builds a small matches table as the reader writes it: two regions, prices for most, random but seeded."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SIDES = ("home", "draw", "away")
PRICES = ("b365", "b365c", "avgc", "avg", "psc")
_NUMBERS = {"tier": pa.int16(), "home_score": pa.int16(), "away_score": pa.int16(), "outcome": pa.int8()}


@dataclass(frozen=True)
class WorldPlan:
    """The size of the world."""

    seasons: int = 5
    teams: int = 8
    first_year: int = 2019
    seed: int = 3


def make_matches(plan: WorldPlan = WorldPlan()) -> pa.Table:
    """Double round robins in two regions, which share a team's name; ten coming matches and a cancelled one."""
    rng = np.random.default_rng(plan.seed)
    rows = [row for region in ("Norland", "Sudland") for row in _region(region, plan, rng)]
    rows.sort(key=lambda row: (row["kickoff_utc"], row["match_id"]))
    for row in rows[-10:]:
        _unplay(row, "upcoming")
    _unplay(rows[len(rows) // 2], "cancelled")
    return to_table(rows)


def to_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as the reader's table, in its types."""
    table = pa.Table.from_pylist(rows)
    types = _NUMBERS | {f"{price}_{side}": pa.float64() for price in PRICES for side in SIDES}
    types["kickoff_utc"] = pa.timestamp("us", "UTC")
    return table.cast(pa.schema([(field.name, types.get(field.name, field.type)) for field in table.schema]))


def write_matches(folder: Path, table: pa.Table) -> Path:
    """The table as matches.parquet in the folder."""
    path = folder / "matches.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def change_after(table: pa.Table, moment: datetime) -> pa.Table:
    """The same matches with other results and prices from that moment on."""
    rows = table.to_pylist()
    for row in rows:
        if row["kickoff_utc"] >= moment and row["status"] == "finished":
            row["home_score"], row["away_score"] = row["away_score"] + 3, row["home_score"]
            row["outcome"] = _outcome(row["home_score"], row["away_score"])
            for price in PRICES:
                home, away = row[f"{price}_home"], row[f"{price}_away"]
                row[f"{price}_home"], row[f"{price}_away"] = away, home
    return to_table(rows)


def _region(region: str, plan: WorldPlan, rng: np.random.Generator) -> list[dict[str, Any]]:
    names = ["Rovers", *(f"{region} {number}" for number in range(1, plan.teams))]
    strength = dict(zip(names, rng.normal(0, 0.4, plan.teams), strict=True))
    rows = []
    for year in range(plan.first_year, plan.first_year + plan.seasons):
        pairs = [(home, away) for home in names for away in names if home != away]
        rng.shuffle(pairs)
        for number, (home, away) in enumerate(pairs):
            kickoff = datetime(year, 8, 1, 15, tzinfo=UTC) + timedelta(days=4 * (number // 2), hours=number % 2)
            rows.append(_row(region, year, kickoff, (str(home), str(away)), strength, rng))
    return rows


def _row(
    region: str,
    year: int,
    kickoff: datetime,
    pair: tuple[str, str],
    strength: dict[str, float],
    rng: np.random.Generator,
) -> dict[str, Any]:
    home, away = pair
    advantage = strength[home] - strength[away] + 0.3
    scores = int(rng.poisson(1.3 * np.exp(advantage / 2))), int(rng.poisson(1.3 * np.exp(-advantage / 2)))
    row: dict[str, Any] = {
        "match_id": int(rng.integers(1, 2**62)),
        "kickoff_utc": kickoff,
        "region": region,
        "tournament": f"{region} League",
        "division": region[:3].upper(),
        "tier": 1,
        "season": f"{year}/{year + 1 - 2000}",
        "home_team": home,
        "away_team": away,
        "status": "finished",
        "home_score": scores[0],
        "away_score": scores[1],
        "outcome": _outcome(*scores),
    }
    return row | _prices(advantage, priced=rng.random() < 0.8)


def _prices(advantage: float, *, priced: bool) -> dict[str, float | None]:
    weights = np.exp([advantage, -0.2, -advantage])
    odds = [round(float(value), 2) for value in weights.sum() / weights / 1.05]
    return {
        f"{price}_{side}": max(value, 1.01) if priced else None
        for price in PRICES
        for side, value in zip(SIDES, odds, strict=True)
    }


def _outcome(home: int, away: int) -> int:
    return 0 if home > away else 1 if home == away else 2


def _unplay(row: dict[str, Any], status: str) -> None:
    row.update(status=status, home_score=None, away_score=None, outcome=None)
