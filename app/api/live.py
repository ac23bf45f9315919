"""Live predictions: features from the snapshot, probabilities from a worker, and the age of everything behind them."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import structlog
from aiohttp import web

from app import appkeys
from app.api.route import model_response
from app.domain.outcomes import Outcome
from app.errors import FeaturesMissing, MatchNotFound, PredictionTimeout, QueueUnavailable, ServiceError
from app.ledger.rows import PredictionRecord
from app.queue.jobs import PredictionRequest, PredictionResult, TaskStatus
from app.queue.serialization import name_feature_set
from app.schemas import (
    AsyncPredictIn,
    ContributionOut,
    LiveModelOut,
    LivePredictionOut,
    LiveQuery,
    MatchPath,
    ProbabilitiesOut,
    TaskOut,
    TimingsOut,
)
from app.schemas import TaskStatus as TaskStatusOut
from app.store.odds import MarketView, Odds, Triple

log = structlog.get_logger(__name__)
_OTHER_ALIAS = "other"


@dataclass(frozen=True, slots=True)
class SnapshotContext:
    """What a snapshot knows beside a prediction; None where it knows nothing."""

    odds: Odds | None = None
    market: MarketView | None = None  # None: the artifacts have no consensus
    data_until: datetime | None = None


async def predict_match(request: web.Request, path: MatchPath, query: LiveQuery) -> web.Response:
    """Predict a match now, by a worker; 504 with the task's id when that takes too long.

    The same question within the time that results are kept has the same answer, and an `Age`.
    """
    settings, metrics = request.app[appkeys.SETTINGS], request.app[appkeys.METRICS].live
    alias = query.alias if query.alias in settings.model_aliases else _OTHER_ALIAS
    started = time.perf_counter()
    try:
        response = await _predict(request, path.match_id, query, started)
    except ServiceError as error:
        metrics.count(alias, error.code, time.perf_counter() - started)
        raise
    metrics.count(alias, "ok", time.perf_counter() - started)
    return response


async def submit_prediction(request: web.Request, body: AsyncPredictIn) -> web.Response:
    """Put a prediction into the queue and return at once; its Location tells how it goes."""
    asked_at = datetime.now(UTC)
    wait_s = request.app[appkeys.SETTINGS].result_ttl_s
    prediction, context = await _read_request(request, body.match_id, body, wait_s)
    task_id = await request.app[appkeys.QUEUE].submit(prediction)
    await _record_later(request, task_id, _record(request, prediction, context, asked_at))
    response = model_response(TaskOut(task_id=task_id, status=TaskStatusOut(TaskStatus.QUEUED.value)), status=202)
    response.headers["Location"] = f"/monitoring/task_status/{task_id}"
    return response


async def _predict(request: web.Request, match_id: int, query: LiveQuery, started: float) -> web.Response:
    asked_at = datetime.now(UTC)
    timeout_s = request.app[appkeys.SETTINGS].sync_timeout_s
    prediction, context = await _read_request(request, match_id, query, timeout_s)
    features_s = time.perf_counter() - started
    try:
        result = await request.app[appkeys.QUEUE].predict(prediction, timeout_s=timeout_s - features_s)
    except PredictionTimeout as error:
        # a failure of the task itself may have this type too; then no result will be found, and nothing is recorded
        task_id = error.extras["task_id"]
        try:
            await _record_later(request, task_id, _record(request, prediction, context, asked_at))
        except QueueUnavailable as away:
            log.warning("a late answer will not be in the ledger", task=task_id, error=away.detail)
        raise
    measured_ms = None if result.is_known else result.inference_ms
    request.app[appkeys.METRICS].live.observe_answer(result.alias, max(result.proba), measured_ms)
    timings = TimingsOut(
        features_ms=round(1000 * features_s, 3),
        queue_ms=result.queue_ms,
        inference_ms=result.inference_ms,
        total_ms=round(1000 * (time.perf_counter() - started), 3),
    )
    now = datetime.now(UTC)
    ledger = request.app[appkeys.LEDGER]
    if ledger.database is not None:
        record = _record(request, prediction, context, asked_at)
        ledger.record(record.to_row(result.task_id, result, now, timings.total_ms or 0.0))
    response = model_response(present_live_prediction(prediction, result, context, timings))
    if result.is_known:
        response.headers["Age"] = str(max(0, int((now - result.computed_at).total_seconds())))
    return response


async def _read_request(
    request: web.Request, match_id: int, query: LiveQuery | AsyncPredictIn, wait_s: float
) -> tuple[PredictionRequest, SnapshotContext]:
    """Return the request for the workers, and what the snapshot knows beside it; MatchNotFound, FeaturesMissing."""
    async with request.app[appkeys.SNAPSHOTS].reading() as snapshot:
        odds = snapshot.prices.find(match_id)
        if odds is None:
            raise MatchNotFound.for_match(match_id)
        features = await snapshot.features.find(match_id)
        if features is None:
            raise FeaturesMissing(f"Match {match_id} has no feature row.", match_id=match_id)
        prediction = PredictionRequest(
            match_id=match_id,
            alias=query.alias,
            features=features,
            feature_set=name_feature_set(snapshot.features.names),
            snapshot_id=snapshot.id,
            features_computed_at=snapshot.manifest.features_computed_at.isoformat(),
            request_id=request[appkeys.REQUEST_ID],
            deadline_at=time.time() + wait_s,
            explain=query.explain,
            traceparent=request[appkeys.TRACE].header,
        )
        market = snapshot.prices.find_market(match_id) if snapshot.weights else None
        return prediction, SnapshotContext(odds, market, snapshot.manifest.data_until)


def _record(
    request: web.Request, prediction: PredictionRequest, context: SnapshotContext, asked_at: datetime
) -> PredictionRecord:
    odds = context.odds or Odds(None, None, None, None)
    return PredictionRecord(
        asked_at=asked_at,
        match_id=prediction.match_id,
        snapshot_id=prediction.snapshot_id,
        odds_home=odds.home,
        odds_draw=odds.draw,
        odds_away=odds.away,
        odds_captured_at=odds.captured_at,
        request_id=prediction.request_id,
        trace_id=request[appkeys.TRACE].trace_id,
    )


async def _record_later(request: web.Request, task_id: str, record: PredictionRecord) -> None:
    """Have the ledger record the result of a task that no request waits for."""
    if request.app[appkeys.LEDGER].database is not None:
        await request.app[appkeys.QUEUE].note(task_id, record.encode())


def present_live_prediction(
    prediction: PredictionRequest, result: PredictionResult, context: SnapshotContext, timings: TimingsOut
) -> LivePredictionOut:
    """Return the answer about one match."""
    now = datetime.now(UTC)
    features_computed_at = datetime.fromisoformat(prediction.features_computed_at)
    captured_at = context.odds.captured_at if context.odds else None
    home, draw, away = result.proba
    market = context.market
    contributions = result.contributions
    return LivePredictionOut(
        match_id=prediction.match_id,
        probabilities=ProbabilitiesOut(home=home, draw=draw, away=away),
        market=_triple(market.market) if market and market.market else None,
        consensus=_triple(market.pool(result.proba)) if market else None,
        predicted=Outcome(result.proba.index(max(result.proba))).label,
        model=LiveModelOut(
            name=result.model_name, version=result.model_version, alias=result.alias, run_id=result.run_id
        ),
        snapshot_id=prediction.snapshot_id,
        features_computed_at=features_computed_at,
        feature_age_s=(now - features_computed_at).total_seconds(),
        data_until=context.data_until,
        odds_captured_at=captured_at,
        odds_age_s=(now - captured_at).total_seconds() if captured_at else None,
        computed_at=result.computed_at,
        task_id=result.task_id,
        timings=timings,
        explanation=None if contributions is None else [ContributionOut(**asdict(each)) for each in contributions],
    )


def _triple(values: Triple) -> ProbabilitiesOut:
    home, draw, away = values
    return ProbabilitiesOut(home=home, draw=draw, away=away)
