"""Live predictions: features from the snapshot, probabilities from a worker, and the age of everything behind them."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import structlog
from aiohttp import web

from app import appkeys
from app.api.route import model_response
from app.domain.outcomes import Outcome
from app.errors import PredictionTimeout, QueueUnavailable, ServiceError
from app.ledger.rows import PredictionRecord
from app.queue.jobs import PredictJob, PredictResult, TaskJob, TaskStatus
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
from app.store.live_inputs import Inputs, find_inputs
from app.store.odds import Odds


@dataclass(frozen=True, slots=True)
class SnapshotContext:
    """What a snapshot says beside an answer; None where it says nothing."""

    odds: Odds | None = None
    data_until: datetime | None = None


def present_live_prediction(
    job: TaskJob, task_id: str, result: PredictResult, beside: SnapshotContext, timings: TimingsOut
) -> LivePredictionOut:
    """Put together the answer about one match."""
    now = datetime.now(UTC)
    features_computed_at = datetime.fromisoformat(job.features_computed_at)
    captured_at = beside.odds.captured_at if beside.odds else None
    home, draw, away = result.proba
    return LivePredictionOut(
        match_id=job.match_id,
        probabilities=ProbabilitiesOut(home=home, draw=draw, away=away),
        predicted=Outcome(result.proba.index(max(result.proba))).label,
        model=LiveModelOut(
            name=result.model_name, version=result.model_version, alias=result.alias, run_id=result.run_id
        ),
        snapshot_id=job.snapshot_id,
        features_computed_at=features_computed_at,
        feature_age_s=(now - features_computed_at).total_seconds(),
        data_until=beside.data_until,
        odds_captured_at=captured_at,
        odds_age_s=(now - captured_at).total_seconds() if captured_at else None,
        computed_at=result.computed_at,
        task_id=task_id,
        timings=timings,
        explanation=_explanation(result),
    )


def _explanation(result: PredictResult) -> list[ContributionOut] | None:
    if result.contributions is None:
        return None
    return [ContributionOut(**asdict(contribution)) for contribution in result.contributions]


log = structlog.get_logger(__name__)
_OTHER_ALIAS = "other"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question ready for the workers, and what the snapshot said beside it."""

    job: PredictJob
    inputs: Inputs
    features_ms: float
    question: PredictionRecord


async def predict_match(request: web.Request, path: MatchPath, query: LiveQuery) -> web.Response:
    """Predict a match now, by a worker; 504 with the task's id when that takes too long.

    The same question within the time that results are kept has the same answer, and an `Age`.
    """
    settings, metrics = request.app[appkeys.SETTINGS], request.app[appkeys.METRICS]
    alias = query.stage if query.stage in settings.model_aliases else _OTHER_ALIAS
    started = time.perf_counter()
    try:
        response = await _predict(request, path.match_id, query)
    except ServiceError as error:
        metrics.live.count(alias, error.code, time.perf_counter() - started)
        raise
    metrics.live.count(alias, "ok", time.perf_counter() - started)
    return response


async def submit_prediction(request: web.Request, body: AsyncPredictIn) -> web.Response:
    """Put a prediction into the queue and return at once; its Location tells how it goes."""
    wait_s = request.app[appkeys.SETTINGS].result_ttl_s
    asked = await _asked(request, body.match_id, LiveQuery(stage=body.stage, explain=body.explain), wait_s)
    task_id = await request.app[appkeys.QUEUE].submit(asked.job)
    await _have_recorded(request, task_id, asked.question)
    response = model_response(TaskOut(task_id=task_id, status=TaskStatusOut(TaskStatus.QUEUED.value)), status=202)
    response.headers["Location"] = f"/monitoring/task_status/{task_id}"
    return response


async def _predict(request: web.Request, match_id: int, query: LiveQuery) -> web.Response:
    started = time.perf_counter()
    timeout_s = request.app[appkeys.SETTINGS].sync_timeout_s
    asked = await _asked(request, match_id, query, timeout_s)
    try:
        task_id, result, is_known = await request.app[appkeys.QUEUE].predict(
            asked.job, timeout_s=timeout_s - (time.perf_counter() - started)
        )
    except PredictionTimeout as error:
        await _late(request, error, asked.question)
        raise
    measured_ms = None if is_known else result.inference_ms
    request.app[appkeys.METRICS].live.observe_answer(result.alias, max(result.proba), measured_ms)
    timings = TimingsOut(
        features_ms=asked.features_ms,
        queue_ms=result.queue_ms,
        inference_ms=result.inference_ms,
        total_ms=_since_ms(started),
    )
    job = asked.job
    about = TaskJob(job.match_id, job.alias, job.snapshot_id, job.features_computed_at, job.explain)
    beside = SnapshotContext(asked.inputs.odds, asked.inputs.data_until)
    answer = present_live_prediction(about, task_id, result, beside, timings)
    row = asked.question.answered(task_id, result, datetime.now(UTC), timings.total_ms or 0.0)
    request.app[appkeys.LEDGER].record(row)
    return _response(answer, is_known=is_known)


async def _have_recorded(request: web.Request, task_id: str, question: PredictionRecord) -> None:
    if request.app[appkeys.LEDGER].database is not None:
        await request.app[appkeys.QUEUE].note(task_id, question.encode())


async def _late(request: web.Request, error: PredictionTimeout, question: PredictionRecord) -> None:
    # a failure of the task itself may have this type too; then no answer will be found, and nothing is recorded
    try:
        await _have_recorded(request, error.extras["task_id"], question)
    except QueueUnavailable as away:
        log.warning("a late answer will not be in the ledger", task=error.extras["task_id"], error=away.detail)


def _response(answer: LivePredictionOut, *, is_known: bool) -> web.Response:
    response = model_response(answer)
    if is_known:
        age_s = (datetime.now(UTC) - answer.computed_at).total_seconds()
        response.headers["Age"] = str(max(0, int(age_s)))
    return response


async def _asked(request: web.Request, match_id: int, query: LiveQuery, wait_s: float) -> _Asked:
    started = time.perf_counter()
    async with request.app[appkeys.SNAPSHOTS].reading() as snapshot:
        inputs = await find_inputs(snapshot, match_id)
        job = PredictJob(
            match_id=match_id,
            alias=query.stage,
            features=inputs.features,
            feature_set=name_feature_set(snapshot.features.names),
            snapshot_id=snapshot.id,
            features_computed_at=snapshot.manifest.features_computed_at.isoformat(),
            request_id=request[appkeys.REQUEST_ID],
            deadline_at=time.time() + wait_s,
            explain=query.explain,
            traceparent=request[appkeys.TRACE].header,
        )
    return _Asked(job, inputs, _since_ms(started), _question(request, job, inputs.odds))


def _since_ms(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)


def _question(request: web.Request, job: PredictJob, odds: Odds) -> PredictionRecord:
    return PredictionRecord(
        asked_at=datetime.now(UTC),
        match_id=job.match_id,
        snapshot_id=job.snapshot_id,
        odds_home=odds.home,
        odds_draw=odds.draw,
        odds_away=odds.away,
        odds_captured_at=odds.captured_at,
        request_id=job.request_id,
        trace_id=request[appkeys.TRACE].trace_id,
    )
