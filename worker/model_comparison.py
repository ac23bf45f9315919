"""A candidate beside the champion, on the same matches: after the training of both, and as the ledger was settled.

Hold-out: matches of the artifacts that kicked off after the training of both ended. Live: matches for which the ledger
has an answer (or a shadow's) of both before the kick-off. What neither says is left to whoever decides.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from app.artifacts import contract
from app.domain import statistics
from app.domain.outcomes import OUTCOMES
from app.domain.scoring import losses
from app.ledger.evaluation import score_version
from app.ledger.promotions import ComparisonVerdict, MeanScores, ModelComparison, PairedScores, VersionFacts
from worker.inference import Probabilities, Rows
from worker.predictors import LoadedModel, ModelRefused, Predictor
from worker.registry import Inspection, ModelRegistry

MIN_MATCHES = 30  # below it the scores of a pair would be noise
MAX_MATCHES = 50_000  # the newest; more change no verdict
RECENT = timedelta(days=365)
LEAST_FOR_DRIFT = 200
_CHUNK_ROWS = 16_384
_REPEATS = 30
_PSI_BINS = 10


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Finished matches by kick-off that neither version has seen, with the columns that either takes."""

    kickoff: npt.NDArray[np.datetime64]  # (n,)
    outcomes: npt.NDArray[np.int64]  # (n,)
    columns: Mapping[str, npt.NDArray[np.float32]]  # each (n,)

    @classmethod
    def read(cls, artifacts: Path, since: datetime, names: Sequence[str]) -> "HoldOut":
        """Read the newest matches since then; ModelRefused when the artifacts lack a feature."""
        columns = ["match_id", "kickoff_utc", "status", "outcome"]
        matches = pq.read_table(artifacts / contract.PREDICTIONS, columns=columns)
        is_settled = pc.and_(pc.equal(matches["status"], "finished"), pc.is_valid(matches["outcome"]))
        is_later = pc.greater_equal(matches["kickoff_utc"], pa.scalar(since, matches["kickoff_utc"].type))
        matches = matches.filter(pc.and_(is_settled, is_later)).sort_by("kickoff_utc")
        matches = matches.slice(max(len(matches) - MAX_MATCHES, 0))
        features = _read_features(artifacts / contract.FEATURES, matches["match_id"], names)
        matches = matches.filter(pc.is_in(matches["match_id"], value_set=features["match_id"].combine_chunks()))
        places = pc.index_in(matches["match_id"], value_set=features["match_id"].combine_chunks())
        features = features.take(places)
        return cls(
            kickoff=matches["kickoff_utc"].cast(pa.timestamp("us", "UTC")).to_numpy().astype("datetime64[us]"),
            outcomes=matches["outcome"].to_numpy().astype(np.int64),
            columns={name: features[name].to_numpy().astype(np.float32) for name in names},
        )

    def rows(self, names: Sequence[str]) -> Rows:
        """Return the feature rows of a model, in its order."""
        if not names or not len(self.outcomes):
            return np.empty((len(self.outcomes), len(names)), dtype=np.float32)
        return np.ascontiguousarray(np.stack([self.columns[name] for name in names], axis=1))


def compare_versions(
    registry: ModelRegistry, versions: tuple[str, str], artifacts: Path, settled: Sequence[Any]
) -> ModelComparison:
    """Compare a champion's version with a candidate's; takes seconds, and belongs in a thread.

    Args:
        registry: where both are.
        versions: of the champion and of the candidate.
        artifacts: folder that holds predictions and features.
        settled: rows of `fetch_settled`.

    Raises:
        ModelRefused: a version is not there or cannot be served, or the artifacts lack a feature.
    """
    for version in versions:
        registry.require_version(version)
    inspections = [registry.inspect(f"version {version}", version) for version in versions]
    models = []
    for version, inspection in zip(versions, inspections, strict=True):
        if inspection.model is None:
            raise ModelRefused(f"version {version} cannot be served: {'; '.join(inspection.problems)}")
        models.append(inspection.model)
    since = _find_common_end(models)
    names = tuple(dict.fromkeys(name for model in models for name in model.names))
    hold_out = HoldOut.read(artifacts, since, names) if since else None
    forecasts = [_predict(model, hold_out) for model in models] if hold_out else []
    paired = (
        _compare(forecasts[0], forecasts[1], hold_out.outcomes)
        if hold_out
        else PairedScores(0, ComparisonVerdict.TOO_FEW)
    )
    name = models[0].info.name
    live = compare_live(settled, name, versions)
    facts = [
        _describe(model, inspection, hold_out, forecasts[place] if forecasts else None)
        for place, (model, inspection) in enumerate(zip(models, inspections, strict=True))
    ]
    facts = [_with_memory(fact, registry) for fact in facts]
    return ModelComparison(
        model_name=name,
        compared_at=datetime.now(UTC),
        hold_out_since=since,
        hold_out=paired,
        live=live,
        champion=facts[0],
        candidate=facts[1],
        objections=tuple(_list_objections(paired, live, facts[1])),
    )


def compare_live(settled: Sequence[Any], name: str, versions: tuple[str, str]) -> PairedScores:
    """Compare what both said of the same matches before the kick-off, whether callers got the answer or not."""
    champion, candidate = (_find_live(settled, name, version) for version in versions)
    both = sorted(champion.keys() & candidate.keys())
    outcomes = np.array([champion[match_id]["outcome"] for match_id in both], dtype=np.int64)
    stacked = [
        np.array([found[match_id]["probabilities"] for match_id in both], dtype=np.float64).reshape(-1, 3)
        for found in (champion, candidate)
    ]
    return _compare(stacked[0], stacked[1], outcomes)


def _find_live(settled: Sequence[Any], name: str, version: str) -> dict[int, dict[str, Any]]:
    """Return the last forecast of each match by one version."""
    found: dict[int, dict[str, Any]] = {}
    for row in sorted(settled, key=lambda row: row["answered_at"]):
        for forecast, role in (("proba", "model"), ("shadow", "shadow")):
            if (row[f"{role}_name"], row[f"{role}_version"]) == (name, version):
                probabilities = [row[f"{forecast}_{side}"] for side in OUTCOMES]
                found[row["match_id"]] = {"outcome": row["outcome"], "probabilities": probabilities}
    return found


def _read_features(path: Path, match_ids: pa.ChunkedArray, names: Sequence[str]) -> pa.Table:
    dataset = pads.dataset(path)
    missing = sorted(set(names) - set(dataset.schema.names))
    if missing:
        raise ModelRefused(f"the artifacts have no feature {missing[0]!r}, which a version takes")
    wanted = pads.field("match_id").isin(match_ids.combine_chunks())
    return dataset.to_table(columns=["match_id", *names], filter=wanted)


def _find_common_end(models: Sequence[LoadedModel]) -> datetime | None:
    ends = [model.info.trained_until for model in models]
    return None if None in ends else max(end for end in ends if end is not None)


def _predict(model: LoadedModel, hold_out: HoldOut) -> Probabilities:
    rows = hold_out.rows(model.names)
    chunks = [rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS)]
    return np.concatenate([np.empty((0, 3)), *(model.predictor.probabilities(chunk) for chunk in chunks)])


def _compare(champion: Probabilities, candidate: Probabilities, outcomes: npt.NDArray[np.int64]) -> PairedScores:
    n = len(outcomes)
    if n < MIN_MATCHES:
        return PairedScores(n, ComparisonVerdict.TOO_FEW)
    theirs, ours = losses(champion, outcomes), losses(candidate, outcomes)
    log_loss = statistics.difference(ours.log_loss, theirs.log_loss)
    return PairedScores(
        n=n,
        verdict=ComparisonVerdict.of_difference(log_loss),
        champion=_mean_scores(champion, outcomes),
        candidate=_mean_scores(candidate, outcomes),
        log_loss=log_loss,
        brier=statistics.difference(ours.brier, theirs.brier),
        rps=statistics.difference(ours.rps, theirs.rps),
    )


def _mean_scores(probabilities: Probabilities, outcomes: npt.NDArray[np.int64]) -> MeanScores:
    found = score_version(probabilities, outcomes)
    return MeanScores(found.log_loss.value, found.brier.value, found.rps.value, found.ece, found.ece_floor)


def _list_objections(hold_out: PairedScores, live: PairedScores, candidate: VersionFacts) -> list[str]:
    objections = []
    if not candidate.n_golden_rows:
        objections.append("the candidate has no golden rows: nobody can tell that workers compute what its maker did")
    match hold_out.verdict:
        case ComparisonVerdict.TOO_FEW:
            objections.append(f"there are only {hold_out.n} matches after the training of both")
        case ComparisonVerdict.WORSE:
            objections.append("it is worse than the champion on the hold-out")
        case ComparisonVerdict.UNDECIDED:
            objections.append("the hold-out does not rule out that it is worse than the champion")
    if live.verdict is ComparisonVerdict.WORSE:
        objections.append("it is worse than the champion on settled live predictions")
    return objections


def _describe(
    model: LoadedModel, inspection: Inspection, hold_out: HoldOut | None, forecast: Probabilities | None
) -> VersionFacts:
    rows = np.zeros((64, len(model.names)), dtype=np.float32)
    return VersionFacts(
        version=model.info.version,
        trained_until=model.info.trained_until,
        n_features=len(model.names),
        n_golden_rows=inspection.verification.n_golden_rows,
        drift_psi=None if hold_out is None or forecast is None else _measure_drift(hold_out.kickoff, forecast),
        ms_one_row=_measure_ms(model.predictor, rows[:1]),
        ms_64_rows=_measure_ms(model.predictor, rows),
        memory_mb=0.0,
    )


def _measure_ms(predictor: Predictor, rows: Rows) -> float:
    """Return the median time of one call in milliseconds."""
    times = []
    for _ in range(_REPEATS):
        started = perf_counter()
        predictor.probabilities(rows)
        times.append(perf_counter() - started)
    return round(1000 * median(times), 4)


def _with_memory(facts: VersionFacts, registry: ModelRegistry) -> VersionFacts:
    """Load the version once more, with all its libraries there already, and see what that took."""
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    copy = registry.inspect(f"version {facts.version}", facts.version)
    grown = process.memory_info().rss - before
    del copy
    return replace(facts, memory_mb=round(max(grown, 0) / 2**20, 1))


def _measure_drift(kickoff: npt.NDArray[np.datetime64], forecast: Probabilities) -> float | None:
    """Return the largest stability index of the three probabilities, the last year beside the time before."""
    if not len(kickoff):
        return None
    is_recent = kickoff >= kickoff[-1] - np.timedelta64(RECENT)
    before, recent = forecast[~is_recent], forecast[is_recent]
    if min(len(before), len(recent)) < LEAST_FOR_DRIFT:
        return None
    return round(max(_find_psi(before[:, side], recent[:, side]) for side in range(3)), 4)


def _find_psi(before: npt.NDArray[np.float64], recent: npt.NDArray[np.float64]) -> float:
    """Return the population stability index over tenths of what came before (Siddiqi 2006)."""
    edges = np.quantile(before, np.linspace(0, 1, _PSI_BINS + 1)[1:-1])
    counts = [np.bincount(np.searchsorted(edges, values), minlength=_PSI_BINS) for values in (before, recent)]
    # half a match in each bin: an empty one would be infinitely far
    shares = [(count + 0.5) / (count.sum() + 0.5 * _PSI_BINS) for count in counts]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
