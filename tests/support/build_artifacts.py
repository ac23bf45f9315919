"""Builds a tiny but valid artifacts folder for tests; `write_artifacts` is the way in.

folder = write_artifacts(tmp_path / "artifacts")                        # 60 matches, 3 regions, 6 features
folder = write_artifacts(path, predict=lambda rows: predict_proba(booster, rows), feature_names=names)
folder = write_artifacts(path, edit={PREDICTIONS: lambda table: table.slice(1)})   # then stamped as if published
stamp(folder)                                                           # after changing files by hand
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from app.artifacts.contract import DRIFT, DRIFT_HTML, FEATURES, FILES, MANIFEST, ODDS, OPTIONAL, PREDICTIONS, PRICES
from app.artifacts.manifest import FileStamp, Manifest
from app.domain.prices import MARKET_AVERAGE
from app.store.money import MoneyRules
from worker.pipeline.output.history import EarlierHistory, extend_history
from worker.pipeline.output.roi_tables import write_roi_tables
from worker.pipeline.output.value_bets import settle_matches

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
FIRST_ID = 2**62  # as large as real ids: one that passes through a double is no longer itself
FEATURE_NAMES = (
    "elo_home",
    "elo_away",
    "elo_diff",
    "form_win_all_5_home",
    "form_win_all_5_away",
    "form_win_all_5_diff",
)
REGIONS = {"England": ("Premier League", "Championship"), "Scotland": ("Premiership",), "Italy": ("Serie A",)}
BOOKMAKER = "Bet365 (pre-match)"
MODEL = {"model_name": "soccer-match-outcome", "model_version": "1", "model_run_id": "0" * 32}

Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]]
Edit = Callable[[pa.Table], pa.Table]


def write_artifacts(
    folder: Path,
    *,
    n_matches: int = 60,
    n_upcoming: int = 12,
    n_in_sample: int = 6,
    odds_share: float = 0.9,
    feature_names: Sequence[str] = FEATURE_NAMES,
    predict: Predict | None = None,
    now: datetime = NOW,
    seed: int = 0,
    simulated: bool = True,
    min_bets: int = 2,
    with_history: bool = False,
    n_books: int = 0,
    edit: Mapping[str, Edit] | None = None,
) -> Path:
    """Write a whole folder and return it; `edit` changes the tables of PREDICTIONS, FEATURES or ODDS on their way.

    The last `n_upcoming` matches lie in the days after `now`, the others in those before; the first `n_in_sample`
    are marked in-sample. `n_books` bookmakers, and the market average, price every match that has odds. `predict` maps
    feature rows (n, f) to probabilities (n, 3). The money tables are the real pipeline's, with `min_bets` low enough to
    say something of so few matches, and so is the history.
    """
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_matches, len(feature_names))).astype(np.float32)
    probabilities = predict(features) if predict else _softmax(rng.normal(0.3, 0.5, size=(n_matches, 3)))
    predictions = _predictions(probabilities, n_matches - n_upcoming, n_in_sample, now, rng)
    ids = {"match_id": predictions["match_id"]}
    tables = {
        PREDICTIONS: predictions,
        FEATURES: pa.table(ids | {name: features[:, i] for i, name in enumerate(feature_names)}),
        ODDS: _odds(predictions, probabilities, odds_share, now, rng),
    }
    for name, table in tables.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    if n_books:
        pq.write_table(_prices(tables[ODDS], n_books, seed), folder / PRICES)
    history_until = extend_history(folder, EarlierHistory(folder), now) if with_history else None
    settled = settle_matches(folder, now, MoneyRules())
    write_roi_tables(settled, list(REGIONS), folder, now, MoneyRules(min_bets=min_bets))
    for name, change in (edit or {}).items():
        pq.write_table(change(tables[name]), folder / name)
    write_drift(folder, feature_names, now, simulated=simulated)
    stamp(folder, now=now, simulated=simulated, seed=seed, history_until=history_until)
    return folder


def stamp(
    folder: Path,
    *,
    now: datetime = NOW,
    simulated: bool = True,
    seed: int = 0,
    history_until: datetime | None = None,
) -> None:
    """Write the manifest of a folder as it is."""
    parts = sorted(path.relative_to(folder).as_posix() for path in folder.glob("history/*/*/*.parquet"))
    present = [name for name in (*FILES, *OPTIONAL, *parts) if (folder / name).exists()]
    manifest = Manifest(
        source="simulated" if simulated else "football-data.co.uk",
        simulated=simulated,
        built_at=now,
        data_until=now - timedelta(hours=20),
        features_computed_at=now - timedelta(minutes=5),
        seed=seed if simulated else None,
        history_until=history_until,
        files={name: FileStamp.from_file(folder / name) for name in present},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1))


def _softmax(margins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(margins)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def _predictions(
    probabilities: npt.NDArray[np.float64],
    n_finished: int,
    n_in_sample: int,
    now: datetime,
    rng: np.random.Generator,
) -> pa.Table:
    n = len(probabilities)
    index = np.arange(n)
    places = [(region, name) for region, names in REGIONS.items() for name in names]
    place = [places[i % len(places)] for i in index]
    finished = index < n_finished
    home, away = rng.poisson(1.5, n), rng.poisson(1.2, n)
    kickoffs = [
        now - timedelta(hours=20) + timedelta(hours=8) * (i - n_finished + (1 if i < n_finished else 3))
        for i in index.tolist()
    ]
    return pa.table(
        {
            "match_id": pa.array(FIRST_ID + index, pa.int64()),
            "kickoff_utc": pa.array(kickoffs, pa.timestamp("us", "UTC")),
            "region": [region for region, _ in place],
            "tournament": [tournament for _, tournament in place],
            "season": pa.array(["2026/27"] * n),
            "home_team": [f"{region} Home {i % 7}" for i, (region, _) in enumerate(place)],
            "away_team": [f"{region} Away {i % 5}" for i, (region, _) in enumerate(place)],
            "status": np.where(finished, "finished", "upcoming").tolist(),
            "home_score": pa.array(home, pa.int16(), mask=~finished),
            "away_score": pa.array(away, pa.int16(), mask=~finished),
            "outcome": pa.array(1 - np.sign(home - away), pa.int8(), mask=~finished),
            "proba_home": probabilities[:, 0],
            "proba_draw": probabilities[:, 1],
            "proba_away": probabilities[:, 2],
            "predicted_class": pa.array(probabilities.argmax(axis=1), pa.int8()),
            "model_stage": np.where(index < n_finished // 2, "walk-forward", "champion").tolist(),
            "computed_at": pa.array([now] * n, pa.timestamp("us", "UTC")),
            "in_sample": index < n_in_sample,
        }
        | {name: [value] * n for name, value in MODEL.items()}
    )


def _odds(
    predictions: pa.Table,
    probabilities: npt.NDArray[np.float64],
    share: float,
    now: datetime,
    rng: np.random.Generator,
) -> pa.Table:
    noisy = _softmax(np.log(probabilities) + rng.normal(0, 0.15, probabilities.shape))
    odds = np.maximum(1 / (noisy * 1.06), 1.01).round(2)
    closing = np.maximum(odds + rng.normal(0, 0.03, odds.shape), 1.01).round(2)
    captured = [min(at - timedelta(days=1), now) for at in predictions["kickoff_utc"].to_pylist()]
    n = len(predictions)
    columns = {
        f"{kind}_{side}": values[:, i]
        for kind, values in (("odds", odds), ("closing", closing))
        for i, side in enumerate(("home", "draw", "away"))
    }
    table = pa.table(
        {"match_id": predictions["match_id"]}
        | columns
        | {
            "bookmaker": [BOOKMAKER] * n,
            "event_url": pa.nulls(n, pa.string()),
            "captured_at": pa.array(captured, pa.timestamp("us", "UTC")),
        }
    )
    return table.filter(pa.array(rng.random(n) < share))


def _prices(odds: pa.Table, n_books: int, seed: int) -> pa.Table:
    """Prices of further bookmakers around those of the odds file, before the match and at its beginning."""
    rng = np.random.default_rng([seed, n_books])
    parts = []
    for name in (*(f"Book {i + 1}" for i in range(n_books)), MARKET_AVERAGE):
        for kind, source in (("offer", "odds"), ("closing", "closing")):
            near = {
                f"odds_{side}": np.maximum(odds[f"{source}_{side}"].to_numpy() * rng.normal(1, 0.02, len(odds)), 1.01)
                for side in ("home", "draw", "away")
            }
            later = timedelta(days=1) if kind == "closing" else timedelta()
            captured = [at + later for at in odds["captured_at"].to_pylist()]
            columns = {"match_id": odds["match_id"], "bookmaker": [name] * len(odds)} | near
            columns |= {"captured_at": pa.array(captured, pa.timestamp("us", "UTC")), "kind": [kind] * len(odds)}
            parts.append(pa.table(columns | {"url": pa.nulls(len(odds), pa.string())}))
    return pa.concat_tables(parts)


def write_drift(folder: Path, feature_names: Sequence[str], now: datetime, *, simulated: bool) -> None:
    """Write a drift report that finds nothing."""
    features = [
        {"feature": name, "method": "psi", "score": 0.01 * i, "threshold": 0.1, "drifted": False}
        for i, name in enumerate(feature_names)
    ]
    report = {
        "score": 0.0,
        "n_features": len(features),
        "n_drifted": 0,
        "verdict": "stable",
        "features": features,
        "reference": {"from": "2020-08-01", "to": "2025-06-30", "rows": 5000},
        "current": {"from": "2025-08-01", "to": "2026-08-27", "rows": 2000},
        "computed_at": now.isoformat(),
        "simulated": simulated,
    }
    (folder / DRIFT).parent.mkdir(parents=True, exist_ok=True)
    (folder / DRIFT).write_text(json.dumps(report))
    (folder / DRIFT_HTML).write_text("<!doctype html><title>Drift</title><p>stable</p>")
