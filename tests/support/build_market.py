"""Builds a market whose truth is known: books of known sharpness, a model, and results drawn from the chances."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from app.artifacts.contract import ODDS, PREDICTIONS, PRICES

FIRST = datetime(2021, 7, 2, 15, tzinfo=UTC)
NOISE = {"Sharp": 0.02, "Dull": 0.12, "Dull too": 0.12, "Bet365": 0.06}
MARGIN = 0.03
_INSTANT = pa.timestamp("us", "UTC")

Floats = npt.NDArray[np.float64]


def write_market(
    folder: Path,
    *,
    n: int = 12_000,
    seed: int = 0,
    results: str = "true",
    forecasts: str = "true",
    late_prices: bool = False,
) -> Path:
    """Write predictions, odds and prices of n finished matches over four years.

    Args:
        folder: where to write.
        n: number of matches.
        seed: of everything drawn.
        results: `true` ones, `shuffled` over all matches, or `shifted` to the next match.
        forecasts: of the model: `true` ones, or those of another match, likewise.
        late_prices: whether a bookmaker who knows the result prices every match, an hour after it began.
    """
    rng = np.random.default_rng(seed)
    chances = rng.dirichlet((6.0, 3.5, 4.0), n)
    outcome = (chances.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=2)
    order = np.arange(n)
    orders = {"true": order, "shuffled": rng.permutation(n), "shifted": np.roll(order, 1)}
    said = outcome[orders[results]]
    kickoffs = [FIRST + timedelta(hours=4 * 365 * 24 / n) * i for i in range(n)]
    ids = np.arange(n, dtype=np.int64) + 1
    model = _seen(chances, 0.2, rng)[orders[forecasts]]
    books = {name: 1 / (_seen(chances, noise, rng) * (1 + MARGIN)) for name, noise in NOISE.items()}
    parts = [_prices(ids, name, odds, kickoffs, timedelta(days=-1)) for name, odds in books.items()]
    if late_prices:
        knowing = np.where(np.eye(3)[said] == 1, 1.02, 40.0)
        parts.append(_prices(ids, "Late", knowing, kickoffs, timedelta(hours=1)))
    tables = {PREDICTIONS: _predictions(ids, kickoffs, said, model), PRICES: pa.concat_tables(parts)}
    own = parts[list(NOISE).index("Bet365")]
    tables[ODDS] = own.drop_columns(["kind"]).rename_columns([*own.column_names[:6], "event_url"])
    for name, table in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name)
    return folder


def _seen(chances: Floats, noise: float, rng: np.random.Generator) -> Floats:
    raised = chances * np.exp(rng.normal(0, noise, chances.shape))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float64)


def _prices(
    ids: npt.NDArray[np.int64], name: str, odds: Floats, kickoffs: list[datetime], apart: timedelta
) -> pa.Table:
    sides = {f"odds_{side}": np.maximum(odds[:, i], 1.01) for i, side in enumerate(("home", "draw", "away"))}
    captured = pa.array([at + apart for at in kickoffs], _INSTANT)
    n = len(ids)
    columns = {"match_id": pa.array(ids), "bookmaker": [name] * n, **sides, "captured_at": captured}
    return pa.table(columns | {"kind": ["offer"] * n, "url": pa.nulls(n, pa.string())})


def _predictions(
    ids: npt.NDArray[np.int64], kickoffs: list[datetime], outcome: npt.NDArray[np.int64], model: Floats
) -> pa.Table:
    n = len(ids)
    texts = {"region": "Nowhere", "tournament": "League", "season": "2021/22", "home_team": "A", "away_team": "B"}
    texts |= {"status": "finished", "model_name": "m", "model_version": "1", "model_stage": "champion"}
    return pa.table(
        {
            "match_id": ids,
            "kickoff_utc": pa.array(kickoffs, _INSTANT),
            "home_score": pa.array(np.where(outcome == 0, 1, 0), pa.int16()),
            "away_score": pa.array(np.where(outcome == 2, 1, 0), pa.int16()),
            "outcome": pa.array(outcome, pa.int8()),
            **{f"proba_{side}": model[:, i] for i, side in enumerate(("home", "draw", "away"))},
            "predicted_class": pa.array(model.argmax(axis=1), pa.int8()),
            "computed_at": pa.array(kickoffs, _INSTANT),
            "in_sample": np.zeros(n, np.bool_),
            "model_run_id": ["0"] * n,
            **{name: [value] * n for name, value in texts.items()},
        }
    )
