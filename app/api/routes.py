"""The table of contents of the API."""

from aiohttp import web

from app.api.artifacts import refresh_artifacts
from app.api.cards import get_cards_sql, list_cards
from app.api.docs import STATIC, get_docs, get_openapi
from app.api.drift import get_drift, get_drift_report
from app.api.events import EVENT_STREAM, follow_events
from app.api.health import get_health, get_livez, get_readyz
from app.api.live import predict_match, submit_prediction
from app.api.metrics import get_metrics
from app.api.model_versions import list_model_versions, promote_version
from app.api.predictions import (
    find_written_prediction,
    get_bookmakers,
    get_history,
    get_precomputed,
    list_facets,
    list_odds,
    list_predictions,
)
from app.api.quality import get_quality
from app.api.responses import BULK_MEDIA, find_cached_response
from app.api.roi import get_performance, get_roi, list_region_roi
from app.api.route import Route
from app.api.sql import SQL_MEDIA, run_sql
from app.api.tasks import cancel_task, get_task, list_models, list_queues, list_workers
from app.api.transport import check_expectation
from app.auth.keys import Scope
from app.errors import (
    AsOfUnknown,
    ExplanationUnavailable,
    FeaturesLoading,
    FeaturesMismatch,
    FeaturesMissing,
    FeedFull,
    LedgerUnavailable,
    MatchNotFound,
    ModelNotFound,
    NoWorker,
    PredictionFailed,
    PredictionTimeout,
    PromotionRefused,
    PromotionUnconfirmed,
    QueryQueueFull,
    QueryTimeout,
    QueueFull,
    QueueUnavailable,
    ReportMissing,
    SnapshotUnavailable,
    SqlBusy,
    SqlOff,
    SqlRejected,
    SqlTimeout,
    SqlTooLarge,
    TaskBusy,
    TaskNotFound,
)
from app.schemas import (
    BookmakersOut,
    CardsOut,
    FacetsOut,
    LivePredictionOut,
    MatchHistoryOut,
    OddsListOut,
    PerformanceOut,
    PredictionDetailOut,
    PredictionsOut,
    ReadyOut,
    RegionRoiListOut,
    RoiOut,
    SqlOut,
    TaskOut,
)

READING = (SnapshotUnavailable, QueryTimeout, QueryQueueFull)
READING_AS_OF = (*READING, AsOfUnknown)
TO_A_MATCH = tuple((name, "/items/0/match_id") for name in ("get_precomputed", "get_history", "predict_match"))
TO_A_TASK = (("get_task", "/task_id"), ("cancel_task", "/task_id"))
ASKING = (*READING, MatchNotFound, FeaturesMissing, FeaturesLoading, QueueFull, QueueUnavailable)
ASKING_SQL = (*READING, SqlOff, SqlRejected, SqlTooLarge, SqlTimeout, SqlBusy)
PREDICTING = (
    *ASKING,
    NoWorker,
    ModelNotFound,
    FeaturesMismatch,
    ExplanationUnavailable,
    PredictionFailed,
    PredictionTimeout,
)
PROMOTING = (LedgerUnavailable, QueueUnavailable, NoWorker, PromotionRefused, PromotionUnconfirmed)

ROUTES = (
    Route(
        "GET",
        "/predict/predictions/",
        list_predictions,
        READING_AS_OF,
        answer=PredictionsOut,
        media=BULK_MEDIA,
        cached_response=find_cached_response,
        links=TO_A_MATCH,
    ),
    Route(
        "GET",
        "/predict/precomputed/{match_id}",
        get_precomputed,
        (*READING_AS_OF, MatchNotFound),
        answer=PredictionDetailOut,
        cached_response=find_written_prediction,
    ),
    Route(
        "GET",
        "/predict/cards/",
        list_cards,
        READING_AS_OF,
        answer=CardsOut,
        media=BULK_MEDIA,
        cached_response=find_cached_response,
        links=TO_A_MATCH,
    ),
    Route("GET", "/predict/cards/sql", get_cards_sql),
    Route(
        "GET",
        "/predict/odds/",
        list_odds,
        READING_AS_OF,
        answer=OddsListOut,
        media=BULK_MEDIA,
        cached_response=find_cached_response,
        links=TO_A_MATCH,
    ),
    Route(
        "GET",
        "/predict/odds/{match_id}/history",
        get_history,
        (*READING_AS_OF, MatchNotFound),
        answer=MatchHistoryOut,
        cached_response=find_cached_response,
    ),
    Route(
        "GET",
        "/predict/odds/{match_id}/bookmakers",
        get_bookmakers,
        (*READING_AS_OF, MatchNotFound),
        answer=BookmakersOut,
        cached_response=find_cached_response,
    ),
    Route(
        "GET",
        "/predict/facets/",
        list_facets,
        READING_AS_OF,
        answer=FacetsOut,
        media=BULK_MEDIA,
        cached_response=find_cached_response,
    ),
    Route(
        "GET",
        "/predict/region-roi/",
        list_region_roi,
        READING_AS_OF,
        answer=RegionRoiListOut,
        media=BULK_MEDIA,
        cached_response=find_cached_response,
    ),
    Route("GET", "/predict/roi/", get_roi, READING_AS_OF, answer=RoiOut, cached_response=find_cached_response),
    Route(
        "GET",
        "/predict/performance/",
        get_performance,
        READING_AS_OF,
        answer=PerformanceOut,
        cached_response=find_cached_response,
    ),
    Route(
        "POST",
        "/predict/async/",
        submit_prediction,
        ASKING,
        status=202,
        answer=TaskOut,
        scope=Scope.PREDICT,
        links=TO_A_TASK,
    ),
    Route("GET", "/predict/model/info", list_models, (QueueUnavailable,)),
    # after the fixed paths below /predict/, which it would swallow
    Route("GET", "/predict/{match_id}", predict_match, PREDICTING, answer=LivePredictionOut, scope=Scope.PREDICT),
    Route("POST", "/artifacts/refresh", refresh_artifacts, scope=Scope.ADMIN),
    Route("POST", "/sql", run_sql, ASKING_SQL, answer=SqlOut, media=SQL_MEDIA, scope=Scope.SQL),
    Route("GET", "/events", follow_events, (FeedFull,), media=(EVENT_STREAM,)),
    Route("GET", "/monitoring/task_status/{task_id}", get_task, (TaskNotFound, QueueUnavailable), scope=Scope.PREDICT),
    Route(
        "DELETE",
        "/monitoring/task_status/{task_id}",
        cancel_task,
        (TaskNotFound, TaskBusy, QueueUnavailable),
        status=204,
        media=(),
        scope=Scope.PREDICT,
    ),
    Route("GET", "/monitoring/arq/queues", list_queues, (QueueUnavailable,), scope=Scope.MONITOR),
    Route("GET", "/monitoring/arq/workers", list_workers, (QueueUnavailable,), scope=Scope.MONITOR),
    Route("GET", "/monitoring/quality", get_quality, (LedgerUnavailable,), scope=Scope.MONITOR),
    Route(
        "GET",
        "/monitoring/models",
        list_model_versions,
        (LedgerUnavailable, QueueUnavailable),
        scope=Scope.MONITOR,
    ),
    Route("POST", "/monitoring/models/promote", promote_version, PROMOTING, scope=Scope.ADMIN),
    Route("GET", "/monitoring/drift", get_drift, (*READING, ReportMissing), scope=Scope.MONITOR),
    Route(
        "GET",
        "/monitoring/drift/report",
        get_drift_report,
        (*READING, ReportMissing),
        media=("text/html",),
        scope=Scope.MONITOR,
    ),
    Route("GET", "/healthcheck/", get_health, scope=None),
    Route("GET", "/livez", get_livez, scope=None),
    Route("GET", "/readyz", get_readyz, answer=ReadyOut, scope=None),
    Route("GET", "/metrics", get_metrics, media=("text/plain",), scope=None),
    Route("GET", "/openapi.json", get_openapi, scope=None),
    Route("GET", "/docs", get_docs, media=("text/html",), scope=None),
)


def add_routes(app: web.Application) -> None:
    """Put every route into an application."""
    for route in ROUTES:
        endpoint = route.endpoint()
        app.router.add_route(route.method, route.path, endpoint, expect_handler=check_expectation)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, endpoint, expect_handler=check_expectation)
        if route.path.endswith("/"):
            app.router.add_route(route.method, route.path.rstrip("/"), _with_slash)
    app.router.add_static("/docs/static", STATIC)


async def _with_slash(request: web.Request) -> web.StreamResponse:
    """The same address with the slash that it lacks, before `{match_id}` can take its last word for a match."""
    raise web.HTTPPermanentRedirect(request.rel_url.with_path(request.path + "/").with_query(request.query))
