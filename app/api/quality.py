"""How good the predictions were that people got."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from aiohttp import web

from app import appkeys
from app.domain.statistics import Estimate
from app.errors import LedgerUnavailable
from app.ledger.database import AWAY, LedgerDatabase
from app.ledger.evaluation import (
    Comparison,
    EvaluationCounts,
    Quality,
    Rules,
    VersionQuality,
    VersionScores,
    count_evaluation,
    evaluate_ledger,
    fetch_settled,
)
from app.schemas import (
    BinOut,
    ComparisonOut,
    EstimateOut,
    QualityOut,
    QualityQuery,
    VersionMoneyOut,
    VersionOut,
    VersionQualityOut,
)

_INTERVALS = "95 %, normal approximation over matches as independent units; comparisons are paired by match"
_NOTHING = (EvaluationCounts(0, 0, None), Quality([], []))


async def get_quality(request: web.Request, query: QualityQuery) -> QualityOut:
    """Scores, calibration, ROI and closing-line value of settled live predictions by model version."""
    settings = request.app[appkeys.SETTINGS]
    rules = Rules(settings.value_edge, settings.min_bets, query.min_n, settings.min_history)
    now, database = datetime.now(UTC), request.app[appkeys.LEDGER].database
    standing, found = await _found(database, now - timedelta(days=query.days), rules) if database else _NOTHING
    state = "not_configured" if database is None else "ok" if found.versions else "no_data"
    return QualityOut(
        state=state,
        days=query.days,
        min_n=rules.min_n,
        min_bets=rules.min_bets,
        value_edge=rules.value_edge,
        intervals=_INTERVALS,
        computed_at=now,
        settled_at=standing.settled_at,
        settled_age_s=(now - standing.settled_at).total_seconds() if standing.settled_at else None,
        n_waiting=standing.n_waiting,
        n_late=standing.n_late,
        items=[_version_out(each) for each in found.versions],
        comparisons=[_comparison_out(each) for each in found.comparisons],
    )


async def _found(database: LedgerDatabase, since: datetime, rules: Rules) -> tuple[EvaluationCounts, Quality]:
    try:
        pool = await database.pool()
        rows = await fetch_settled(pool, since)
        return await count_evaluation(pool), await asyncio.to_thread(evaluate_ledger, rows, rules)
    except AWAY as error:
        raise LedgerUnavailable(
            f"The ledger's database cannot be reached ({type(error).__name__}).", retry_after_s=5.0
        ) from error


def _version_out(found: VersionQuality) -> VersionQualityOut:
    scores, money = found.scores, found.money
    return VersionQualityOut(
        model_name=found.name,
        model_version=found.version,
        role=found.role.value,
        aliases=list(found.aliases),
        state="too_few" if scores is None else "ok",
        n=found.n,
        money=VersionMoneyOut(
            **asdict(money.roi), n_closing=money.n_closing, closing_value_pct=_estimate_out(money.closing_value, 100)
        ),
        **_scores_out(scores),
    )


def _scores_out(scores: VersionScores | None) -> dict[str, object]:
    if scores is None:
        return {"log_loss": None, "brier": None, "rps": None, "ece": None, "ece_floor": None, "bins": []}
    return {
        "log_loss": _estimate_out(scores.log_loss),
        "brier": _estimate_out(scores.brier),
        "rps": _estimate_out(scores.rps),
        "ece": scores.ece,
        "ece_floor": scores.ece_floor,
        "bins": [BinOut(**asdict(each)) for each in scores.bins],
    }


def _comparison_out(found: Comparison) -> ComparisonOut:
    return ComparisonOut(
        answered=VersionOut(model_name=found.answered[0], model_version=found.answered[1]),
        shadow=VersionOut(model_name=found.shadow[0], model_version=found.shadow[1]),
        state="too_few" if found.log_loss is None else "ok",
        n=found.n,
        log_loss=_estimate_out(found.log_loss),
        brier=_estimate_out(found.brier),
        rps=_estimate_out(found.rps),
    )


def _estimate_out(found: Estimate | None, scale: float = 1.0) -> EstimateOut | None:
    if found is None:
        return None
    return EstimateOut(value=scale * found.value, low=scale * found.low, high=scale * found.high)
