"""Every operation of the API as a method, with the types of its schemas."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.client import change_events
from app.client.change_events import FeedEvent
from app.client.frames import Frame
from app.client.http_session import (
    ARROW,
    LIVE_TIMEOUT_S,
    ApiFailure,
    ApiReply,
    ApiRequest,
    ApiSession,
    QueryParams,
)
from app.runtime import Backoff
from app.schemas import (
    AsOfQuery,
    AsyncPredictIn,
    BookmakersOut,
    CardOut,
    CardsOut,
    CardsQuery,
    CardsSqlOut,
    CardsSqlQuery,
    DriftOut,
    FacetsOut,
    FacetsQuery,
    HealthOut,
    ListQuery,
    LiveOut,
    LivePredictionOut,
    LiveQuery,
    MatchHistoryOut,
    ModelInfoListOut,
    ModelVersionsOut,
    OddsListOut,
    PerformanceOut,
    PredictionDetailOut,
    PredictionsOut,
    PromoteIn,
    PromotionOut,
    QualityOut,
    QualityQuery,
    QueuesOut,
    ReadyOut,
    ReadyQuery,
    RefreshOut,
    RegionRoiListOut,
    RoiOut,
    RoiQuery,
    SqlIn,
    SqlOut,
    TaskOut,
    TaskStatus,
    WorkersOut,
)

FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 1.0  # between looks at a task
PROMOTION_TIMEOUT_S = 75.0  # a worker loads the version first
_SAME_SNAPSHOT_TRIES = 5
_JSON_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
M = TypeVar("M", bound=BaseModel)


class TouchlineClient(ApiSession):
    """The API of one service; every call may raise `ApiFailure`, and no other exception of this client's.

    Reads keep the entity tag of their answer: one that still holds comes without a body, and one about a time past
    (`as_of`) is not asked for twice. The objects of an answer are kept and given again: leave their lists as they are.
    A member that this client does not know yet is ignored.
    """

    # reads of the snapshot

    async def list_predictions(self, query: ListQuery | None = None) -> PredictionsOut:
        """Return all precomputed predictions, by kick-off."""
        return await self._read_list("/predict/predictions/", PredictionsOut, query)

    async def get_precomputed(self, match_id: int, query: AsOfQuery | None = None) -> PredictionDetailOut:
        """Return one precomputed prediction."""
        return await self._read(f"/predict/precomputed/{match_id:d}", PredictionDetailOut, query)

    async def list_cards(self, query: CardsQuery | None = None) -> CardsOut:
        """Return a page of cards: predictions with odds and edge."""
        return await self._read_list("/predict/cards/", CardsOut, query)

    async def iter_card_pages(self, query: CardsQuery | None = None) -> AsyncIterator[CardsOut]:
        """Iterate over the pages of cards; each says by its `snapshot` which artifacts it is from."""
        query = query or CardsQuery()
        while True:
            page = await self.list_cards(query)
            yield page
            if page.next_cursor is None:
                return
            query = query.model_copy(update={"cursor": page.next_cursor})

    async def iter_cards(self, query: CardsQuery | None = None) -> AsyncIterator[CardOut]:
        """Iterate over the cards of all pages."""
        async for page in self.iter_card_pages(query):
            for card in page.items:
                yield card

    async def get_cards_sql(self, query: CardsSqlQuery | None = None) -> CardsSqlOut:
        """Return the SQL that gives these cards."""
        return await self._read("/predict/cards/sql", CardsSqlOut, query)

    async def list_odds(self, query: ListQuery | None = None) -> OddsListOut:
        """Return the newest 1X2 odds of every match that has any."""
        return await self._read_list("/predict/odds/", OddsListOut, query)

    async def get_bookmakers(self, match_id: int, query: AsOfQuery | None = None) -> BookmakersOut:
        """Return what every bookmaker offers on a match; MatchNotFound."""
        return await self._read(f"/predict/odds/{match_id:d}/bookmakers", BookmakersOut, query)

    async def get_history(self, match_id: int, query: AsOfQuery | None = None) -> MatchHistoryOut:
        """Return odds and predictions of one match over time."""
        return await self._read(f"/predict/odds/{match_id:d}/history", MatchHistoryOut, query)

    async def list_facets(self, query: FacetsQuery | None = None) -> FacetsOut:
        """Return regions, tournaments and statuses to filter by, with their numbers of matches."""
        return await self._read_list("/predict/facets/", FacetsOut, query)

    async def list_region_roi(self, query: ListQuery | None = None) -> RegionRoiListOut:
        """Return the ROI of each region."""
        return await self._read_list("/predict/region-roi/", RegionRoiListOut, query)

    async def get_roi(self, query: RoiQuery | None = None) -> RoiOut:
        """Return ROI and accuracy over exactly the selected matches."""
        return await self._read("/predict/roi/", RoiOut, query)

    async def get_performance(self, query: RoiQuery | None = None) -> PerformanceOut:
        """Return how model and value bets did on the selected matches, as series."""
        return await self._read("/predict/performance/", PerformanceOut, query)

    # frames: `fields` of the query chooses columns

    async def fetch_predictions_frame(self, query: ListQuery | None = None) -> Frame:
        """Return all precomputed predictions as a table."""
        return await self._fetch_frame("/predict/predictions/", query)

    async def fetch_cards_frame(self, query: CardsQuery | None = None) -> Frame:
        """Return the cards of all pages as a table of one snapshot."""
        return await self._fetch_frame("/predict/cards/", query or CardsQuery(limit=1000))

    async def fetch_odds_frame(self, query: ListQuery | None = None) -> Frame:
        """Return the newest odds as a table."""
        return await self._fetch_frame("/predict/odds/", query)

    async def fetch_region_roi_frame(self, query: ListQuery | None = None) -> Frame:
        """Return the ROI of each region as a table."""
        return await self._fetch_frame("/predict/region-roi/", query)

    # live predictions

    async def predict_match(self, match_id: int, query: LiveQuery | None = None) -> LivePredictionOut:
        """Predict a match now.

        Raises:
            ApiFailure: with the code `prediction-timeout`, `extras["task_id"]` is what `wait_for_task` waits for.
        """
        request = ApiRequest(f"/predict/{match_id:d}", _write_params(query), timeout_s=LIVE_TIMEOUT_S)
        return (await self.send(request)).parse(LivePredictionOut)

    async def submit_prediction(self, body: AsyncPredictIn) -> TaskOut:
        """Put a prediction into the queue, and return its task at once."""
        return await self._post("/predict/async/", TaskOut, body, status=202)

    async def get_task(self, task_id: str) -> TaskOut:
        """Return where a task is, with its result once it is done."""
        return (await self.send(ApiRequest(f"/monitoring/task_status/{task_id}"))).parse(TaskOut)

    async def wait_for_task(self, task_id: str, *, timeout_s: float = 60.0) -> LivePredictionOut:
        """Look at a task, at growing intervals, until it has a result.

        Raises:
            ApiFailure: the task failed (`code` is its error), or had no result in time (`slow`).
        """
        backoff, until_s = Backoff(FIRST_LOOK_S, LONGEST_LOOK_S), time.monotonic() + timeout_s
        while True:
            task = await self.get_task(task_id)
            if task.result is not None:
                return task.result
            if task.status is TaskStatus.FAILED:
                raise ApiFailure(
                    task.detail or "The task failed.", code=task.error or "task-failed", extras={"task_id": task_id}
                )
            pause_s = backoff.next_pause()
            if time.monotonic() + pause_s > until_s:
                raise ApiFailure(
                    f"The task is {task.status} after {timeout_s:g} s.", code="slow", extras={"task_id": task_id}
                )
            await asyncio.sleep(pause_s)

    async def cancel_task(self, task_id: str) -> None:
        """Take a task that still waits out of the queue."""
        await self.send(ApiRequest(f"/monitoring/task_status/{task_id}", method="DELETE", statuses=(204,)))

    async def list_models(self) -> ModelInfoListOut:
        """Return the models that workers hold, by alias."""
        return await self._read("/predict/model/info", ModelInfoListOut)

    # SQL

    async def run_sql(self, body: SqlIn | str) -> SqlOut:
        """Return the rows of a query over the snapshot."""
        return await self._post("/sql", SqlOut, _read_sql(body))

    async def fetch_sql_frame(self, body: SqlIn | str) -> Frame:
        """Return the answer of a query over the snapshot as a table."""
        text = _read_sql(body).model_dump_json(exclude_none=True)
        reply = await self.send(ApiRequest("/sql", method="POST", body=text, media=ARROW))
        return Frame((reply.body or b"",), reply.snapshot_id)

    # the change feed

    def follow_events(self, last_id: str | None = None) -> AsyncIterator[FeedEvent]:
        """Iterate over what changes, for ever; a broken connection is taken up after the last event.

        Args:
            last_id: id of the last event already known; the present state comes first without one.
        """
        return change_events.follow_events(self, last_id)

    # operation

    async def refresh_artifacts(self) -> RefreshOut:
        """Have the service look for new artifacts now."""
        return await self._post("/artifacts/refresh", RefreshOut)

    async def list_queues(self) -> QueuesOut:
        """Return how much work waits, and for how long."""
        return await self._read("/monitoring/arq/queues", QueuesOut)

    async def list_workers(self) -> WorkersOut:
        """Return the living worker processes."""
        return await self._read("/monitoring/arq/workers", WorkersOut)

    async def get_quality(self, query: QualityQuery | None = None) -> QualityOut:
        """Return scores of settled live predictions by model version."""
        return await self._read("/monitoring/quality", QualityOut, query)

    async def list_model_versions(self) -> ModelVersionsOut:
        """Return what is served, what was compared, and what was promoted."""
        return await self._read("/monitoring/models", ModelVersionsOut)

    async def promote_version(self, body: PromoteIn) -> PromotionOut:
        """Let `champion` name a version that has passed its comparison, or the one before."""
        request = ApiRequest(
            "/monitoring/models/promote",
            method="POST",
            body=body.model_dump_json(exclude_none=True),
            timeout_s=PROMOTION_TIMEOUT_S,
        )
        return (await self.send(request)).parse(PromotionOut)

    async def get_drift(self) -> DriftOut:
        """Return the newest drift report."""
        return await self._read("/monitoring/drift", DriftOut)

    async def get_drift_report(self) -> str:
        """Return the newest drift report as HTML."""
        return await self._read_text("/monitoring/drift/report", "text/html")

    async def get_health(self) -> HealthOut:
        """Return the health of the process and of the ledger."""
        return await self._read("/healthcheck/", HealthOut)

    async def get_livez(self) -> LiveOut:
        """Return whether the event loop turns."""
        return await self._read("/livez", LiveOut)

    async def get_readyz(self, query: ReadyQuery | None = None) -> ReadyOut:
        """Return whether all that answers need is there; a service that is not ready is an answer, no failure."""
        return (await self.send(ApiRequest("/readyz", _write_params(query), statuses=(200, 503)))).parse(ReadyOut)

    async def get_metrics(self) -> str:
        """Return all metrics, as Prometheus reads them."""
        return await self._read_text("/metrics", "text/plain")

    async def get_openapi(self) -> dict[str, Any]:
        """Return the OpenAPI description of the service."""
        reply = await self.send(ApiRequest("/openapi.json"))
        try:
            return _JSON_OBJECT.validate_json(reply.body or b"")
        except ValidationError as error:
            raise ApiFailure.unreadable() from error

    async def get_docs(self) -> str:
        """Return the page on which every endpoint can be tried."""
        return await self._read_text("/docs", "text/html")

    async def _read(self, path: str, model: type[M], query: BaseModel | None = None) -> M:
        return (await self.read(ApiRequest(path, _write_params(query)))).parse(model)

    async def _read_list(self, path: str, model: type[M], query: ListQuery | None) -> M:
        if query is not None and (query.fields or query.format):
            raise ValueError("fields and format are for frames: the rows of a list have all members of their schema")
        return await self._read(path, model, query)

    async def _read_text(self, path: str, media: str) -> str:
        return ((await self.send(ApiRequest(path, media=media))).body or b"").decode()

    async def _post(self, path: str, model: type[M], body: BaseModel | None = None, *, status: int = 200) -> M:
        text = None if body is None else body.model_dump_json(exclude_none=True)
        return (await self.send(ApiRequest(path, method="POST", body=text, statuses=(status,)))).parse(model)

    async def _fetch_frame(self, path: str, query: ListQuery | None) -> Frame:
        params = {name: value for name, value in _write_params(query).items() if name != "format"}
        for _ in range(_SAME_SNAPSHOT_TRIES):
            pages = await self._fetch_pages(ApiRequest(path, params, media=ARROW))
            snapshots = {page.snapshot_id for page in pages}
            if len(snapshots) == 1:
                return Frame(tuple(page.body or b"" for page in pages), snapshots.pop())
        raise ApiFailure("The artifacts changed while the pages were read.", code="snapshot-changed")

    async def _fetch_pages(self, request: ApiRequest) -> list[ApiReply]:
        pages = [await self.read(request)]
        while (cursor := pages[-1].next_cursor) is not None:
            following = ApiRequest(request.path, {**request.params, "cursor": cursor}, media=request.media)
            pages.append(await self.read(following))
        return pages


def _write_params(query: BaseModel | None) -> QueryParams:
    """Return what was set in a query as it stands in a URL."""
    if query is None:
        return {}
    members = query.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    return {name: _write_value(value) for name, value in members.items()}


def _write_value(value: object) -> str | list[str]:
    if isinstance(value, list):
        return [str(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_sql(body: SqlIn | str) -> SqlIn:
    return SqlIn(sql=body) if isinstance(body, str) else body.model_copy(update={"format": None})
