"""Live predictions: features from the snapshot, probabilities from a worker."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from aiohttp import web

from app import keys
from app.api.answers import Beside, live_prediction
from app.api.route import model_response
from app.errors import ServiceError
from app.ledger.row import LedgerRow
from app.queue.jobs import PredictJob, TaskJob, TaskStatus
from app.queue.wire import feature_set_of
from app.schemas import AsyncPredictIn, LivePredictionOut, LiveQuery, MatchPath, TaskOut, TimingsOut
from app.schemas import TaskStatus as TaskStatusOut
from app.store.inputs import Inputs, find_inputs

_OTHER_ALIAS = "other"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question ready for the workers, and what the snapshot said beside it."""

    job: PredictJob
    inputs: Inputs
    features_ms: float


async def predict_match(request: web.Request, path: MatchPath, query: LiveQuery) -> web.Response:
    """Predict a match now, by a worker; 504 with the task's id when that takes too long.

    The same question within the time that results are kept has the same answer, and an `Age`.
    """
    settings, metrics = request.app[keys.SETTINGS], request.app[keys.METRICS]
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
    wait_s = request.app[keys.SETTINGS].result_ttl_s
    asked = await _asked(request, body.match_id, LiveQuery(stage=body.stage, explain=body.explain), wait_s)
    task_id = await request.app[keys.QUEUE].submit(asked.job)
    response = model_response(TaskOut(task_id=task_id, status=TaskStatusOut(TaskStatus.QUEUED.value)), status=202)
    response.headers["Location"] = f"/monitoring/task_status/{task_id}"
    return response


async def _predict(request: web.Request, match_id: int, query: LiveQuery) -> web.Response:
    started = time.perf_counter()
    timeout_s = request.app[keys.SETTINGS].sync_timeout_s
    asked = await _asked(request, match_id, query, timeout_s)
    task_id, result, is_known = await request.app[keys.QUEUE].predict(
        asked.job, timeout_s=timeout_s - (time.perf_counter() - started)
    )
    measured_ms = None if is_known else result.inference_ms
    request.app[keys.METRICS].live.observe_answer(result.alias, max(result.proba), measured_ms)
    timings = TimingsOut(
        features_ms=asked.features_ms,
        queue_ms=result.queue_ms,
        inference_ms=result.inference_ms,
        total_ms=_since_ms(started),
    )
    job = asked.job
    about = TaskJob(job.match_id, job.alias, job.snapshot_id, job.features_computed_at, job.explain)
    beside = Beside(asked.inputs.odds, asked.inputs.data_until)
    answer = live_prediction(about, task_id, result, beside, timings)
    request.app[keys.LEDGER].record(_ledger_row(answer, asked, request[keys.REQUEST_ID]))
    return _response(answer, is_known=is_known)


def _response(answer: LivePredictionOut, *, is_known: bool) -> web.Response:
    response = model_response(answer)
    if is_known:
        age_s = (datetime.now(UTC) - answer.computed_at).total_seconds()
        response.headers["Age"] = str(max(0, int(age_s)))
    return response


async def _asked(request: web.Request, match_id: int, query: LiveQuery, wait_s: float) -> _Asked:
    started = time.perf_counter()
    async with request.app[keys.SNAPSHOTS].reading() as snapshot:
        inputs = find_inputs(snapshot, match_id)
        job = PredictJob(
            match_id=match_id,
            alias=query.stage,
            features=inputs.features,
            feature_set=feature_set_of(snapshot.features.names),
            snapshot_id=snapshot.id,
            features_computed_at=snapshot.manifest.features_computed_at.isoformat(),
            request_id=request[keys.REQUEST_ID],
            deadline_at=time.time() + wait_s,
            explain=query.explain,
            traceparent=request[keys.TRACE].header,
        )
    return _Asked(job, inputs, _since_ms(started))


def _since_ms(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 3)


def _ledger_row(answer: LivePredictionOut, asked: _Asked, request_id: str) -> LedgerRow:
    odds = asked.inputs.odds
    return LedgerRow(
        id=uuid4(),
        answered_at=datetime.now(UTC),
        match_id=answer.match_id,
        proba_home=answer.probabilities.home,
        proba_draw=answer.probabilities.draw,
        proba_away=answer.probabilities.away,
        model_name=answer.model.name,
        model_version=answer.model.version,
        model_alias=answer.model.alias,
        model_run_id=answer.model.run_id,
        snapshot_id=answer.snapshot_id,
        odds_home=odds.home,
        odds_draw=odds.draw,
        odds_away=odds.away,
        odds_captured_at=odds.captured_at,
        request_id=request_id,
        task_id=answer.task_id,
        latency_ms=answer.timings.total_ms or 0.0,
    )
