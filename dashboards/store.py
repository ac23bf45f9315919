"""What the page shows, as data: windows of cards, results, regions, live predictions, the state of the machinery."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from app.schemas import (
    CardsOut,
    CardsSqlOut,
    DriftOut,
    FacetsOut,
    LivePredictionOut,
    MatchHistoryOut,
    ModelInfoListOut,
    PerformanceOut,
    QualityOut,
    QueuesOut,
    ReadyOut,
    RoiOut,
    SnapshotOut,
    WorkersOut,
)
from dashboards.cache import Cache, Kept
from dashboards.client import LIVE_TIMEOUT_S, ApiClient, ApiFailure
from dashboards.rows import row_of

WINDOW_ROWS = 200  # rows a browser gets at once: two screens on a phone, ten on a desk
TTL_S = 15.0  # how long an answer is shown to others without asking again

_OPERATIONS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "ready": ("/readyz", ReadyOut),
    "models": ("/predict/model/info", ModelInfoListOut),
    "workers": ("/monitoring/arq/workers", WorkersOut),
    "queues": ("/monitoring/arq/queues", QueuesOut),
    "drift": ("/monitoring/drift", DriftOut),
    "quality": ("/monitoring/quality", QualityOut),
}


@dataclass(frozen=True, slots=True)
class Window:
    """A page of cards; `rows` is JSON, rendered once for all sessions that look at it."""

    rows: str
    n_rows: int
    total: int
    next_cursor: str | None
    value_edge: float
    snapshot: SnapshotOut

    @classmethod
    def parse(cls, body: bytes) -> "Window":
        """The window in an answer of the API."""
        page = CardsOut.model_validate_json(body)
        rows = orjson.dumps([row_of(card) for card in page.items]).decode()
        return cls(rows, len(page.items), page.total, page.next_cursor, page.value_edge, page.snapshot)


@dataclass(frozen=True, slots=True)
class Series:
    """The series of the performance view; `text` is JSON, rendered once for all sessions."""

    text: str
    snapshot: SnapshotOut

    @classmethod
    def parse(cls, body: bytes) -> "Series":
        """The series in an answer of the API."""
        found = PerformanceOut.model_validate_json(body)
        return cls(found.model_dump_json(exclude={"snapshot"}), found.snapshot)


class Store:
    """The read side of the page, shared by all sessions of a process."""

    def __init__(self, client: ApiClient, *, value_edge: float, ttl_s: float = TTL_S) -> None:
        self.client = client
        self.value_edge = value_edge
        self._windows = Cache(client, Window.parse, ttl_s=ttl_s, size=128)
        self._results = Cache(client, RoiOut.model_validate_json, ttl_s=ttl_s, size=256)
        self._series = Cache(client, Series.parse, ttl_s=ttl_s, size=64)
        self._histories = Cache(client, MatchHistoryOut.model_validate_json, ttl_s=ttl_s, size=256)
        self._facets = Cache(client, FacetsOut.model_validate_json, ttl_s=ttl_s, size=64)
        self._operations: dict[str, Cache[BaseModel]] = {
            part: Cache(client, schema.model_validate_json, ttl_s=ttl_s, size=1)
            for part, (_, schema) in _OPERATIONS.items()
        }
        self._caches: list[Cache[Any]] = [self._windows, self._results, self._series, self._facets, self._histories]
        self._caches += self._operations.values()

    def expire(self) -> None:
        """Ask for everything again: something has changed."""
        for cache in self._caches:
            cache.expire()

    async def window(self, asked: Mapping[str, str], *, sort: str, cursor: str | None = None) -> Kept[Window]:
        """A page of the filtered cards."""
        page = {"sort": sort, "limit": str(WINDOW_ROWS)} | ({"cursor": cursor} if cursor else {})
        kept = await self._windows.get("/predict/cards/", {**asked, **page})
        self.value_edge = kept.value.value_edge  # the API's threshold is the one that counts
        return kept

    async def results(self, asked: Mapping[str, str]) -> Kept[RoiOut]:
        """What the settled value bets among the filtered matches gave."""
        return await self._results.get("/predict/roi/", asked)

    async def series(self, asked: Mapping[str, str]) -> Kept[Series]:
        """How model and value bets did on the filtered matches, to be drawn."""
        return await self._series.get("/predict/performance/", asked)

    async def facets(self, asked: Mapping[str, str]) -> Kept[FacetsOut]:
        """The regions and tournaments of the matches that pass the other filters."""
        return await self._facets.get("/predict/facets/", asked)

    async def history(self, match_id: str) -> Kept[MatchHistoryOut]:
        """The prices and predictions of a match over time."""
        return await self._histories.get(f"/predict/odds/{int(match_id)}/history", {})

    async def sql(self, asked: Mapping[str, str], *, sort: str) -> str:
        """The SQL that gives the filtered cards."""
        reply = await self.client.get("/predict/cards/sql", {**asked, "sort": sort})
        try:
            return CardsSqlOut.model_validate_json(reply.body or b"").sql
        except ValidationError as error:
            raise ApiFailure.unreadable() from error

    async def operations(self) -> dict[str, Kept[BaseModel] | ApiFailure]:
        """The state of workers, queues, models and artifacts, by part; what cannot be had is its failure."""
        answers = await asyncio.gather(*(self._operation(part) for part in _OPERATIONS))
        return dict(zip(_OPERATIONS, answers, strict=True))

    async def _operation(self, part: str) -> Kept[BaseModel] | ApiFailure:
        try:
            return await self._operations[part].get(_OPERATIONS[part][0], {})
        except ApiFailure as failure:
            return _unready(failure) if part == "ready" else failure

    async def predict(self, match_id: str, stage: str) -> dict[str, Any]:
        """A prediction made now by the model under an alias, explained where the model can be."""
        path = f"/predict/{int(match_id)}"
        try:
            return await self._predict(path, {"stage": stage, "explain": "true"})
        except ApiFailure as failure:
            if failure.code != "explanation-unavailable":
                raise
            return await self._predict(path, {"stage": stage})

    async def _predict(self, path: str, asked: Mapping[str, str]) -> dict[str, Any]:
        reply = await self.client.get(path, asked, timeout_s=LIVE_TIMEOUT_S)
        try:
            # without the id: 63 bits do not fit into a JavaScript number
            return LivePredictionOut.model_validate_json(reply.body or b"").model_dump(
                mode="json", exclude={"match_id"}
            )
        except ValueError as error:
            raise ApiFailure.unreadable() from error


def _unready(failure: ApiFailure) -> Kept[BaseModel] | ApiFailure:
    """An API that is not ready answers 503, and says why."""
    try:
        return Kept(ReadyOut.model_validate_json(failure.body), datetime.now(UTC), None, 0.0)
    except ValidationError:
        return failure
