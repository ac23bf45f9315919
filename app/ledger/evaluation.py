"""How good the predictions in the ledger were: by model version, and the shadow beside the version that answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any

import asyncpg
import numpy as np

from app.domain import odds as odds_of
from app.domain import statistics
from app.domain.outcomes import OUTCOMES, Floats, one_hot
from app.domain.roi import Roi, summarise
from app.domain.scoring import (
    Bin,
    Outcomes,
    calibration_noise_floor,
    expected_calibration_error,
    losses,
    reliability,
)
from app.domain.staking import flat_stake, settle
from app.domain.statistics import Estimate

_SETTLED = (files("app.ledger") / "evaluation.sql").read_text()  # read at import, not on the event loop
_TALLY = """
SELECT count(*) FILTER (WHERE r.outcome IS NULL) AS n_waiting,
    count(*) FILTER (WHERE ledger.answered_at >= r.decided_from) AS n_late, max(r.settled_at) AS settled_at
FROM prediction_ledger ledger LEFT JOIN (
    SELECT DISTINCT ON (ledger_id) * FROM prediction_settlements ORDER BY ledger_id, revision DESC
) r ON r.ledger_id = ledger.id
"""
N_BINS = 10


class Role(StrEnum):
    """Whether callers got a version's answers."""

    ANSWERED = "answered"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True)
class Rules:
    """When a bet is taken, and below how many bets or matches a figure would be noise."""

    value_edge: float
    min_bets: int
    min_n: int
    min_history: int = odds_of.MIN_HISTORY


@dataclass(frozen=True, slots=True)
class ScoredPredictions:
    """Predictions of n matches by kick-off and what came of them; NaN where there were no odds."""

    probabilities: Floats  # (n, 3), as are the prices
    outcomes: Outcomes  # (n,)
    odds: Floats
    closing: Floats
    history: Floats  # (n, 2), earlier matches of the home and the away team; NaN where they were not counted


@dataclass(frozen=True, slots=True)
class VersionScores:
    """Proper scores (smaller is better) and calibration of n predictions."""

    log_loss: Estimate
    brier: Estimate
    rps: Estimate
    ece: float
    ece_floor: float  # the ECE that a perfect forecaster would have by chance
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Money:
    """Unit bets on the best edge at the odds recorded with the prediction; closing-line value of those bets."""

    roi: Roi
    n_closing: int
    closing_value: Estimate | None


@dataclass(frozen=True, slots=True)
class VersionQuality:
    """One model version; `scores` is None where there are too few matches."""

    name: str
    version: str
    role: Role
    aliases: tuple[str, ...]
    n: int
    scores: VersionScores | None
    money: Money


@dataclass(frozen=True, slots=True)
class Comparison:
    """Losses of the shadow minus those of the version that answered, on the same n matches: below zero it is better."""

    answered: tuple[str, str]  # name and version
    shadow: tuple[str, str]
    n: int
    log_loss: Estimate | None
    brier: Estimate | None
    rps: Estimate | None


@dataclass(frozen=True, slots=True)
class Quality:
    """All of it."""

    versions: list[VersionQuality]
    comparisons: list[Comparison]


@dataclass(frozen=True, slots=True)
class EvaluationCounts:
    """Predictions without a result yet, those made after kick-off, and when anything was last settled."""

    n_waiting: int
    n_late: int
    settled_at: datetime | None


async def fetch_settled(pool: asyncpg.Pool, since: datetime) -> list[asyncpg.Record]:
    """The predictions that count, of matches kicked off since then."""
    return list(await pool.fetch(_SETTLED, since))


async def count_evaluation(pool: asyncpg.Pool) -> EvaluationCounts:
    """How the ledger stands."""
    return EvaluationCounts(*await pool.fetchrow(_TALLY))


def evaluate_ledger(rows: Sequence[Any], rules: Rules) -> Quality:
    """Score the rows of `settled_since`; takes milliseconds for thousands, so it belongs in a thread."""
    answered = _grouped(rows, "model_name", "model_version")
    shadows = _grouped([row for row in rows if row["shadow_name"] is not None], "shadow_name", "shadow_version")
    pairs = _grouped(
        [row for row in rows if row["shadow_name"] is not None],
        "model_name", "model_version", "shadow_name", "shadow_version",
    )  # fmt: skip
    versions = [_version(key, Role.ANSWERED, found, rules) for key, found in answered.items()]
    versions += [_version(key, Role.SHADOW, found, rules) for key, found in shadows.items()]
    return Quality(versions, [_comparison(key, found, rules) for key, found in pairs.items()])


def _grouped(rows: Sequence[Any], *names: str) -> dict[tuple[str, ...], list[Any]]:
    """Rows by these columns, each match once: the last prediction before kick-off."""
    groups: dict[tuple[str, ...], dict[int, Any]] = {}
    for row in rows:
        matches = groups.setdefault(tuple(row[name] for name in names), {})
        known = matches.get(row["match_id"])
        if known is None or row["answered_at"] > known["answered_at"]:
            matches[row["match_id"]] = row
    return {key: list(groups[key].values()) for key in sorted(groups)}


def _version(key: tuple[str, ...], role: Role, rows: Sequence[Any], rules: Rules) -> VersionQuality:
    judged = _judged(rows, "proba" if role is Role.ANSWERED else "shadow")
    aliases = {row["model_alias"] for row in rows} if role is Role.ANSWERED else set()
    return VersionQuality(
        name=key[0],
        version=key[1],
        role=role,
        aliases=tuple(sorted(aliases)),
        n=len(rows),
        scores=score_version(judged.probabilities, judged.outcomes) if len(rows) >= rules.min_n else None,
        money=_money(judged, rules),
    )


def _judged(rows: Sequence[Any], forecast: str) -> ScoredPredictions:
    return ScoredPredictions(
        probabilities=_matrix(rows, forecast),
        outcomes=np.array([row["outcome"] for row in rows], dtype=np.int64),
        odds=_matrix(rows, "odds"),
        closing=_matrix(rows, "closing"),
        history=_matrix(rows, "n_history", ("home", "away")),
    )


def _matrix(rows: Sequence[Any], name: str, sides: Sequence[str] = OUTCOMES) -> Floats:
    # None becomes NaN
    values = [[row[f"{name}_{side}"] for side in sides] for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), len(sides))


def score_version(probabilities: Floats, outcomes: Outcomes) -> VersionScores:
    """Score probabilities (n, 3) by what happened, (n,)."""
    found = losses(probabilities, outcomes)
    happened = one_hot(outcomes).ravel()
    return VersionScores(
        log_loss=statistics.mean(found.log_loss),
        brier=statistics.mean(found.brier),
        rps=statistics.mean(found.rps),
        ece=expected_calibration_error(probabilities, outcomes, N_BINS),
        ece_floor=calibration_noise_floor(probabilities, N_BINS),
        bins=reliability(probabilities.ravel(), happened, N_BINS),
    )


def _money(judged: ScoredPredictions, rules: Rules) -> Money:
    best, best_edge = odds_of.best_edge(odds_of.edge(judged.probabilities, judged.odds))
    too_little = odds_of.too_little_history(judged.history[:, 0], judged.history[:, 1], rules.min_history)
    is_bet = odds_of.is_value(best_edge, too_little, rules.value_edge)
    rows, side = np.flatnonzero(is_bet), best[is_bet]
    taken, won = judged.odds[rows, side], judged.outcomes[rows] == side
    stake = flat_stake(taken)
    closing_edge = odds_of.closing_value(taken, judged.closing[rows], side)
    known = closing_edge[~np.isnan(closing_edge)]
    return Money(
        roi=summarise(stake, settle(stake, taken, won), won, rules.min_bets),
        n_closing=len(known),
        closing_value=statistics.mean(known) if len(known) >= rules.min_bets else None,
    )


def _comparison(key: tuple[str, ...], rows: Sequence[Any], rules: Rules) -> Comparison:
    outcomes = np.array([row["outcome"] for row in rows], dtype=np.int64)
    shadow, answered = losses(_matrix(rows, "shadow"), outcomes), losses(_matrix(rows, "proba"), outcomes)
    names = ("log_loss", "brier", "rps")
    differences = [
        statistics.difference(getattr(shadow, name), getattr(answered, name)) if len(rows) >= rules.min_n else None
        for name in names
    ]
    return Comparison((key[0], key[1]), (key[2], key[3]), len(rows), *differences)
