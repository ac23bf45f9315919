"""Background work over HTTP: tasks, queues, workers, models."""

from dataclasses import asdict

from aiohttp import web

from app import appkeys
from app.api.live import SnapshotContext, present_live_prediction
from app.errors import SnapshotUnavailable
from app.queue.jobs import PredictionRequest, TaskState
from app.schemas import (
    LivePredictionOut,
    ModelInfoListOut,
    ModelInfoOut,
    QueueOut,
    QueuesOut,
    TaskOut,
    TaskPath,
    TaskStatus,
    TimingsOut,
    WorkerOut,
    WorkersOut,
)


async def get_task(request: web.Request, path: TaskPath) -> TaskOut:
    """Where a task is, with its result once it is done."""
    state = await request.app[appkeys.QUEUE].status(path.task_id)
    return TaskOut(
        task_id=state.task_id,
        status=TaskStatus(state.status.value),
        result=await _task_result(request, state),
        error=state.error,
        detail=state.detail,
    )


async def cancel_task(request: web.Request, path: TaskPath) -> web.Response:
    """Take a task that still waits out of the queue."""
    await request.app[appkeys.QUEUE].cancel(path.task_id)
    return web.Response(status=204)


async def list_queues(request: web.Request) -> QueuesOut:
    """How much work waits, how long the oldest has, and how fast it is answered."""
    queue = request.app[appkeys.QUEUE]
    rate = await queue.jobs_per_s()
    return QueuesOut(items=[QueueOut(**asdict(state), drain_rate_per_s=rate) for state in await queue.queues()])


async def list_workers(request: web.Request) -> WorkersOut:
    """The living worker processes and the models they hold."""
    states = await request.app[appkeys.QUEUE].workers()
    return WorkersOut(items=[WorkerOut(**asdict(state)) for state in states])


async def list_models(request: web.Request) -> ModelInfoListOut:
    """Registry metadata of the models that workers hold, by alias."""
    models = await request.app[appkeys.QUEUE].models()
    return ModelInfoListOut(items=[ModelInfoOut(**asdict(model)) for model in models])


async def _task_result(request: web.Request, state: TaskState) -> LivePredictionOut | None:
    if state.result is None or state.request is None:
        return None
    timings = TimingsOut(
        features_ms=None, queue_ms=state.result.queue_ms, inference_ms=state.result.inference_ms, total_ms=None
    )
    context = await _snapshot_context(request, state.request)
    return present_live_prediction(state.request, state.result, context, timings)


async def _snapshot_context(request: web.Request, prediction: PredictionRequest) -> SnapshotContext:
    try:
        async with request.app[appkeys.SNAPSHOTS].reading() as snapshot:
            odds = snapshot.prices.find(prediction.match_id)
            # newer artifacts know more than the features that the task was given
            is_same = snapshot.id == prediction.snapshot_id
            market = snapshot.prices.find_market(prediction.match_id) if snapshot.weights else None
            return SnapshotContext(odds, market, snapshot.manifest.data_until if is_same else None)
    except SnapshotUnavailable:
        # the result is in Redis; it stays readable while the artifacts are away
        return SnapshotContext()
