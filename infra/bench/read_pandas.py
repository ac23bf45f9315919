"""The yardstick of `scripts/bench read`: the same questions put to pandas, with everything in memory and no HTTP."""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd

from app.artifacts.contract import ODDS, PREDICTIONS

_TIMES = 7
_ROWS = 200
_SIDES = ("home", "draw", "away")


def frame_of(folder: Path) -> pd.DataFrame:
    """Predictions, odds and edges, a row a match, by kick-off."""
    predictions, odds = pd.read_parquet(folder / PREDICTIONS), pd.read_parquet(folder / ODDS)
    frame = predictions.merge(odds, on="match_id", how="left")
    edges = [frame[f"proba_{side}"] * frame[f"odds_{side}"] - 1 for side in _SIDES]
    frame["best_edge"] = np.fmax.reduce(edges)
    names = frame["home_team"] + " " + frame["away_team"] + " " + frame["tournament"] + " " + frame["region"]
    frame["search_text"] = names.str.lower()
    return frame.sort_values(["kickoff_utc", "match_id"]).reset_index(drop=True)


def _page(frame: pd.DataFrame) -> str:
    return str(frame.head(_ROWS).to_json(orient="records", date_format="iso"))


def _upcoming(frame: pd.DataFrame) -> str:
    return _page(frame[frame["status"] == "upcoming"])


def _best(frame: pd.DataFrame) -> str:
    return _page(frame.nlargest(_ROWS, "best_edge"))


def _filtered(frame: pd.DataFrame) -> str:
    return _page(frame[frame["region"].isin(["Region 03", "Region 07"]) & (frame["best_edge"] >= 0.05)])


def _searched(frame: pd.DataFrame) -> str:
    return _page(frame[frame["search_text"].str.contains("club 0123", regex=False)])


def _counted(frame: pd.DataFrame) -> str:
    return str(frame.groupby(["region", "tournament"]).size().to_json())


def _one(frame: pd.DataFrame) -> str:
    return _page(frame[frame["match_id"] == frame["match_id"].iloc[-1]])


WAYS: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "all, by kick-off": _page,
    "upcoming": _upcoming,
    "all, best edge first": _best,
    "two regions, edge >= 5 %": _filtered,
    "text": _searched,
    "facets": _counted,
    "one match": _one,
}


def times_ms(folder: Path) -> dict[str, float]:
    """Median milliseconds of each way."""
    frame = frame_of(folder)
    return {name: float(np.median([_took_ms(way, frame) for _ in range(_TIMES)])) for name, way in WAYS.items()}


def _took_ms(way: Callable[[pd.DataFrame], str], frame: pd.DataFrame) -> float:
    start = perf_counter()
    way(frame)
    return 1000 * (perf_counter() - start)
