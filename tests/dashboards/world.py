"""The matches the page is tested with: hundreds of finished ones, some to come, a few that are strange."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from app.artifacts.contract import ODDS, PREDICTIONS
from tests.support.build_artifacts import write_artifacts

N_MATCHES = 700
N_UPCOMING = 40
UNTIMED = 3  # this many after the first to come, and before it: only the day is published
MARKUP = "<img src=x onerror=alert(1)> & <b>Söhne</b>"
GOOD_LINK = "https://bookmaker.example/event/1?a=1&b=2"
PLAIN_LINK = "http://bookmaker.example/event/1"  # the contract refuses what is no web address; the page wants https too


def write_world(folder: Path, *, seed: int = 0) -> Path:
    """Write the artifacts: the first match to come has passed its kick-off, the second has markup in a name."""
    now = datetime.now(UTC).replace(microsecond=0)
    first = N_MATCHES - N_UPCOMING
    return write_artifacts(
        folder,
        n_matches=N_MATCHES,
        n_upcoming=N_UPCOMING,
        n_in_sample=20,
        now=now,
        min_bets=20,
        seed=seed,
        edit={
            PREDICTIONS: _predictions(first, now),
            ODDS: _linked,
        },
    )


def _predictions(first: int, now: datetime) -> Callable[[pa.Table], pa.Table]:
    # days before the others to come, whatever the hour: the list puts a day's matches in the order of their regions
    change = _with({"kickoff_utc": {first: now - timedelta(days=2)}, "home_team": {first + 1: MARKUP}})
    return lambda table: change(table).append_column(
        "has_time", pa.array([i not in {first + UNTIMED, first - UNTIMED} for i in range(len(table))])
    )


def _with(changes: dict[str, dict[int, Any]]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        for name, cells in changes.items():
            values = table[name].to_pylist()
            for i, value in cells.items():
                values[i] = value
            table = table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))
        return table

    return change


def _linked(table: pa.Table) -> pa.Table:
    links = [PLAIN_LINK if i % 2 else GOOD_LINK for i in range(len(table))]
    return table.set_column(table.column_names.index("event_url"), "event_url", pa.array(links))
