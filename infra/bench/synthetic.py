"""Artifacts of any size, made up but keeping the contract: what benchmarks read."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from app.artifacts.contract import DRIFT, FEATURES, ODDS, PREDICTIONS, DriftReport
from app.domain.drift import Verdict
from app.store.money import MoneyRules
from worker.pipeline.output.publication import Origin, publish, staging
from worker.pipeline.output.roi_tables import write_roi_tables
from worker.pipeline.output.value_bets import settle_matches

NOW = datetime(2026, 8, 20, 12, tzinfo=UTC)
FIRST_ID = 2**62  # as large as real ids
N_FEATURES = 508
_GROUP_ROWS = 50_000
_REGIONS = tuple(f"Region {number:02d}" for number in range(34))
_TOURNAMENTS = ("First Division", "Second Division", "Cup")
_TEAMS = 20  # in a tournament
_YEARS = 10
_UPCOMING = 2_000  # at most, and at most a tenth
_OUTCOMES = ("home", "draw", "away")
_UTC = pa.timestamp("us", tz="UTC")

Rows = npt.NDArray[np.float64]


def make_artifacts(folder: Path, n_matches: int, n_features: int = N_FEATURES, seed: int = 0) -> Path:
    """Publish a folder of so many matches and return it; the same arguments give the same bytes.

    Kick-offs lie in the ten years before NOW, those of the last tenth (at most 2,000) in the fortnight after it; nine
    in ten matches have odds. 100,000 matches x 508 features take about 6 s and 65 MB of disk.
    """
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet((5.0, 3.0, 4.0), n_matches)
    predictions = _predictions(proba, rng)
    with staging(folder) as staged:
        for name in (PREDICTIONS, FEATURES, ODDS):
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(predictions, staged / PREDICTIONS, row_group_size=_GROUP_ROWS)
        pq.write_table(_odds(predictions, proba, rng), staged / ODDS, row_group_size=_GROUP_ROWS)
        _write_features(staged / FEATURES, predictions["match_id"], n_features, seed)
        write_roi_tables(settle_matches(staged, NOW, MoneyRules()), list(_REGIONS), staged, NOW, MoneyRules())
        _write_drift(staged / DRIFT)
        origin = Origin("synthetic", simulated=True, seed=seed, data_until=NOW, features_computed_at=NOW)
        publish(staged, folder, origin, {PREDICTIONS: n_matches, FEATURES: n_matches}, NOW)
    return folder


def _predictions(proba: Rows, rng: np.random.Generator) -> pa.Table:
    n = len(proba)
    n_upcoming = min(_UPCOMING, n // 10)
    finished = np.arange(n) < n - n_upcoming
    place = rng.integers(0, len(_REGIONS) * len(_TOURNAMENTS), n)
    home = rng.integers(0, _TEAMS, n)
    away = (home + rng.integers(1, _TEAMS, n)) % _TEAMS
    scores = rng.poisson((1.5, 1.2), (n, 2)).astype(np.int16)
    return pa.table(
        {
            "match_id": pa.array(FIRST_ID + np.arange(n), pa.int64()),
            "kickoff_utc": pa.array(_kickoffs(n, n_upcoming), _UTC),
            "region": _named(place // len(_TOURNAMENTS), _REGIONS),
            "tournament": _named(place % len(_TOURNAMENTS), _TOURNAMENTS),
            "season": _constant("2026/27", n),
            "home_team": _teams(place, home),
            "away_team": _teams(place, away),
            "status": _named(finished.astype(np.int8), ("upcoming", "finished")),
            "home_score": pa.array(scores[:, 0], mask=~finished),
            "away_score": pa.array(scores[:, 1], mask=~finished),
            "outcome": pa.array((1 - np.sign(scores[:, 0] - scores[:, 1])).astype(np.int8), mask=~finished),
            **{f"proba_{outcome}": proba[:, column] for column, outcome in enumerate(_OUTCOMES)},
            "predicted_class": proba.argmax(axis=1).astype(np.int8),
            "model_name": _constant("soccer-match-outcome", n),
            "model_version": _constant("1", n),
            "model_stage": _constant("champion", n),
            "model_run_id": _constant("0" * 32, n),
            "computed_at": pa.array(np.full(n, NOW.replace(tzinfo=None), "M8[us]"), _UTC),
            "in_sample": np.zeros(n, dtype=np.bool_),
        }
    )


def _kickoffs(n: int, n_upcoming: int) -> npt.NDArray[np.datetime64]:
    now = np.datetime64(NOW.replace(tzinfo=None), "s")
    start = now - np.timedelta64(365 * _YEARS, "D")
    past = np.linspace(start.astype(np.int64), now.astype(np.int64) - 10_800, n - n_upcoming)
    coming = np.linspace(now.astype(np.int64) + 3600, now.astype(np.int64) + 14 * 86_400, n_upcoming)
    seconds = np.concatenate([past, coming]).astype(np.int64)
    return (seconds // 900 * 900).astype("M8[s]").astype("M8[us]")


def _odds(predictions: pa.Table, proba: Rows, rng: np.random.Generator) -> pa.Table:
    n = len(proba)
    # a market that knows what the model knows, and a little else, and keeps 6 % for itself
    noisy = proba * np.exp(rng.normal(0, 0.1, proba.shape))
    noisy /= noisy.sum(axis=1, keepdims=True)
    prices = np.maximum(1 / (1.06 * noisy), 1.01).round(2)
    closing = np.maximum(prices + rng.normal(0, 0.03, prices.shape), 1.01).round(2)
    kickoffs = predictions["kickoff_utc"].to_numpy().astype("M8[us]")
    captured = np.minimum(kickoffs - np.timedelta64(1, "D"), np.datetime64(NOW.replace(tzinfo=None), "us"))
    table = pa.table(
        {
            "match_id": predictions["match_id"],
            **{f"odds_{outcome}": prices[:, column] for column, outcome in enumerate(_OUTCOMES)},
            **{f"closing_{outcome}": closing[:, column] for column, outcome in enumerate(_OUTCOMES)},
            "bookmaker": _constant("Synthetic (pre-match)", n),
            "event_url": pa.nulls(n, pa.string()),
            "captured_at": pa.array(captured, _UTC),
        }
    )
    return table.filter(pa.array(rng.random(n) < 0.9))


def _write_features(path: Path, ids: pa.ChunkedArray, n_features: int, seed: int) -> None:
    names = [f"feature_{number:03d}" for number in range(n_features)]
    schema = pa.schema([("match_id", pa.int64()), *((name, pa.float32()) for name in names)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(ids), _GROUP_ROWS):
            group = ids.slice(start, _GROUP_ROWS).combine_chunks()
            rng = np.random.default_rng((seed, start))
            # rates and counts as features are: few hundred values each
            block = rng.integers(-100, 100, (n_features, len(group)), dtype=np.int16).astype(np.float32) / 50
            writer.write_table(pa.table([group, *block], schema=schema))


def _write_drift(path: Path) -> None:
    window: dict[str, str | int | None] = {"from": "2020-08-01", "to": "2026-08-20", "rows": 0}
    report = DriftReport(
        score=0.0,
        n_features=0,
        n_drifted=0,
        verdict=Verdict.STABLE,
        features=(),
        reference=window,
        current=window,
        computed_at=NOW - timedelta(hours=1),
        simulated=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.model_dump(mode="json")), encoding="utf-8")


def _teams(place: npt.NDArray[np.int64], team: npt.NDArray[np.int64]) -> pa.Array:
    names = [f"Club {number:04d}" for number in range(len(_REGIONS) * len(_TOURNAMENTS) * _TEAMS)]
    return _named(place * _TEAMS + team, names)


def _named(indices: npt.NDArray[np.integer], names: "tuple[str, ...] | list[str]") -> pa.Array:
    return pa.array(names).take(pa.array(indices))


def _constant(value: str, n: int) -> pa.Array:
    return pa.array([value]).take(pa.array(np.zeros(n, dtype=np.int8)))
