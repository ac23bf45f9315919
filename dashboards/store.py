"""Data of the match page: answers of the API, cached for all sessions and converted for the browser."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ValidationError

from app.client import ApiFailure, ApiRequest, ApiSession
from app.client.http_session import LIVE_TIMEOUT_S
from app.schemas import (
    CardMoneyOut,
    CardOut,
    CardsOut,
    CardsSqlOut,
    DriftOut,
    FacetsOut,
    LivePredictionOut,
    MatchHistoryOut,
    ModelInfoListOut,
    Odds1X2Out,
    PerformanceOut,
    ProbabilitiesOut,
    QualityOut,
    QueuesOut,
    ReadyOut,
    RegionRoiRefOut,
    RoiOut,
    SnapshotOut,
    WorkersOut,
)
from dashboards.filters import Params

MAX_BETS = 1000  # rows of the table of value bets: the most that the API gives at once
PAGE_ROWS = 200  # rows a browser gets at once: two screens on a phone, ten on a desk
TTL_S = 15.0  # how long an answer is shown to others without asking again

_OPERATIONS: Mapping[str, tuple[str, type[BaseModel]]] = {
    "ready": ("/readyz", ReadyOut),
    "models": ("/predict/model/info", ModelInfoListOut),
    "workers": ("/monitoring/arq/workers", WorkersOut),
    "queues": ("/monitoring/arq/queues", QueuesOut),
    "drift": ("/monitoring/drift", DriftOut),
    "quality": ("/monitoring/quality", QualityOut),
}
OUTCOMES = ("home", "draw", "away")
T = TypeVar("T")
Key = tuple[str, tuple[tuple[str, str | tuple[str, ...]], ...]]


@dataclass(frozen=True, slots=True)
class CachedAnswer(Generic[T]):
    """An answer of the API, when it was last confirmed, and why it could not be renewed."""

    value: T
    seen_at: datetime
    etag: str | None
    checked_s: float
    failure: ApiFailure | None = None


class ApiCache(Generic[T]):
    """Answers of one kind, revalidated by ETag; equal requests share one; evicts the least recently used."""

    def __init__(self, client: ApiSession, parse: Callable[[bytes], T], *, ttl_s: float, size: int) -> None:
        self._client = client
        self._parse = parse
        self._ttl_s = ttl_s
        self._size = size
        self._answers: OrderedDict[Key, CachedAnswer[T]] = OrderedDict()
        self._requests: dict[Key, asyncio.Task[CachedAnswer[T]]] = {}
        self._changed_s = 0.0

    def invalidate(self) -> None:
        """Treat every answer as old, also those of requests on their way."""
        self._changed_s = time.monotonic()
        self._requests.clear()

    async def get(self, path: str, params: Params) -> CachedAnswer[T]:
        """Return the answer; an old one with its failure where it cannot be renewed.

        Raises:
            ApiFailure: there is no answer, old or new.
        """
        key = (path, tuple(sorted(params.items())))
        answer = self._answers.get(key)
        if answer is not None and self._is_fresh(answer):
            self._answers.move_to_end(key)
            return answer
        request = self._requests.get(key)
        if request is None:
            request = self._requests[key] = asyncio.create_task(self._fetch(key))
            request.add_done_callback(partial(self._finish, key))
        return await asyncio.shield(request)  # one session leaving must not take the answer from the others

    def _is_fresh(self, answer: CachedAnswer[T]) -> bool:
        now_s = time.monotonic()
        return answer.failure is None and answer.checked_s > self._changed_s and now_s - answer.checked_s < self._ttl_s

    def _finish(self, key: Key, request: "asyncio.Task[CachedAnswer[T]]") -> None:
        # when every session has left, asyncio would log its failure as an error nobody handled
        _ = request.cancelled() or request.exception()
        if self._requests.get(key) is request:
            del self._requests[key]

    async def _fetch(self, key: Key) -> CachedAnswer[T]:
        answer = self._answers.get(key)
        try:
            fresh = await self._renew(key, answer)
        except ApiFailure as failure:
            if answer is None:
                raise
            fresh = replace(answer, failure=failure)
        self._put(key, fresh)
        return fresh

    async def _renew(self, key: Key, answer: CachedAnswer[T] | None) -> CachedAnswer[T]:
        path, params = key
        checked_s = time.monotonic()  # before the question: what changes while it is answered is not in the answer
        reply = await self._client.send(ApiRequest(path, dict(params)), etag=answer.etag if answer else None)
        now = datetime.now(UTC)
        if reply.body is not None:
            return CachedAnswer(self._read(reply.body), now, reply.etag, checked_s)
        if answer is None:
            raise ApiFailure.unreadable()
        return replace(answer, seen_at=now, checked_s=checked_s, failure=None)

    def _read(self, body: bytes) -> T:
        try:
            return self._parse(body)
        except ValidationError as error:
            raise ApiFailure.unreadable() from error

    def _put(self, key: Key, answer: CachedAnswer[T]) -> None:
        self._answers[key] = answer
        self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)


@dataclass(frozen=True, slots=True)
class CardsPage:
    """A page of cards; `rows` is JSON, rendered once for all sessions that look at it."""

    rows: str
    n_rows: int
    total: int
    next_cursor: str | None
    value_edge: float
    snapshot: SnapshotOut

    @classmethod
    def parse(cls, body: bytes) -> "CardsPage":
        """Parse an answer of the API."""
        page = CardsOut.model_validate_json(body)
        rows = orjson.dumps([render_card(card) for card in page.items]).decode()
        return cls(rows, len(page.items), page.total, page.next_cursor, page.value_edge, page.snapshot)


@dataclass(frozen=True, slots=True)
class PerformanceSeries:
    """The series of the performance view; `text` is JSON, rendered once for all sessions."""

    text: str
    snapshot: SnapshotOut

    @classmethod
    def parse(cls, body: bytes) -> "PerformanceSeries":
        """Parse an answer of the API."""
        performance = PerformanceOut.model_validate_json(body)
        return cls(performance.model_dump_json(exclude={"snapshot"}), performance.snapshot)


@dataclass(frozen=True, slots=True)
class ValueBetsPage:
    """The value bets with the largest edges, and how many there are."""

    cards: tuple[CardOut, ...]
    total: int
    snapshot: SnapshotOut

    @classmethod
    def parse(cls, body: bytes) -> "ValueBetsPage":
        """Parse an answer of the API."""
        page = CardsOut.model_validate_json(body)
        return cls(tuple(page.items), page.total, page.snapshot)


class Store:
    """The data of the page, shared by all sessions of a process."""

    def __init__(self, client: ApiSession, *, ttl_s: float = TTL_S) -> None:
        self.client = client
        self._pages = ApiCache(client, CardsPage.parse, ttl_s=ttl_s, size=128)
        self._bets = ApiCache(client, ValueBetsPage.parse, ttl_s=ttl_s, size=16)
        self._results = ApiCache(client, RoiOut.model_validate_json, ttl_s=ttl_s, size=256)
        self._series = ApiCache(client, PerformanceSeries.parse, ttl_s=ttl_s, size=64)
        self._histories = ApiCache(client, MatchHistoryOut.model_validate_json, ttl_s=ttl_s, size=256)
        self._facets = ApiCache(client, FacetsOut.model_validate_json, ttl_s=ttl_s, size=64)
        self._operations: dict[str, ApiCache[BaseModel]] = {
            part: ApiCache(client, schema.model_validate_json, ttl_s=ttl_s, size=1)
            for part, (_, schema) in _OPERATIONS.items()
        }
        self._ready: CachedAnswer[BaseModel] | None = None  # also of an API that is not ready, whose 503 no cache keeps
        self._caches: list[ApiCache[Any]] = [
            self._pages,
            self._bets,
            self._results,
            self._series,
            self._facets,
            self._histories,
        ]
        self._caches += self._operations.values()

    def invalidate(self) -> None:
        """Treat all answers as old."""
        for cache in self._caches:
            cache.invalidate()

    async def load_cards(self, params: Params, *, sort: str, cursor: str | None = None) -> CachedAnswer[CardsPage]:
        """Return a page of the filtered cards."""
        page = {"sort": sort, "limit": str(PAGE_ROWS)} | ({"cursor": cursor} if cursor else {})
        return await self._pages.get("/predict/cards/", {**params, **page})

    async def load_value_bets(self, params: Params) -> CachedAnswer[ValueBetsPage]:
        """Return the value bets among the filtered matches, the largest edges first."""
        return await self._bets.get(
            "/predict/cards/", {**params, "value": "true", "sort": "-edge", "limit": str(MAX_BETS)}
        )

    async def load_results(self, params: Params) -> CachedAnswer[RoiOut]:
        """Return the results of the settled value bets among the filtered matches."""
        return await self._results.get("/predict/roi/", params)

    async def load_performance(self, params: Params) -> CachedAnswer[PerformanceSeries]:
        """Return the series of the performance charts for the filtered matches."""
        return await self._series.get("/predict/performance/", params)

    async def load_facets(self, params: Params) -> CachedAnswer[FacetsOut]:
        """Return the regions and tournaments of the matches that pass the other filters."""
        return await self._facets.get("/predict/facets/", params)

    async def load_history(self, match_id: str) -> CachedAnswer[MatchHistoryOut]:
        """Return the odds and predictions of a match over time."""
        return await self._histories.get(f"/predict/odds/{int(match_id)}/history", {})

    async def load_sql(self, params: Params, *, sort: str) -> str:
        """Return the SQL of the filtered cards."""
        reply = await self.client.send(ApiRequest("/predict/cards/sql", {**params, "sort": sort}))
        try:
            return CardsSqlOut.model_validate_json(reply.body or b"").sql
        except ValidationError as error:
            raise ApiFailure.unreadable() from error

    async def load_operations(self) -> dict[str, CachedAnswer[BaseModel] | ApiFailure]:
        """Return the state of workers, queues, models and artifacts by part, or the failure of a part."""
        answers = await asyncio.gather(*(self._load_operation(part) for part in _OPERATIONS))
        return dict(zip(_OPERATIONS, answers, strict=True))

    async def _load_operation(self, part: str) -> CachedAnswer[BaseModel] | ApiFailure:
        answer: CachedAnswer[BaseModel] | ApiFailure
        try:
            answer = await self._operations[part].get(_OPERATIONS[part][0], {})
        except ApiFailure as failure:
            answer = failure
        return self._read_ready(answer) if part == "ready" else answer

    def _read_ready(self, answer: CachedAnswer[BaseModel] | ApiFailure) -> CachedAnswer[BaseModel] | ApiFailure:
        """Return the parts in the 503 of an API that is not ready; without an answer, the last known parts."""
        if isinstance(answer, ApiFailure):
            failure = answer
        elif answer.failure is None:
            self._ready = answer
            return answer
        else:
            failure = answer.failure
        try:
            parts = ReadyOut.model_validate_json(failure.body)
        except ValidationError:
            return failure if self._ready is None else replace(self._ready, failure=failure)
        self._ready = CachedAnswer(parts, datetime.now(UTC), None, 0.0)
        return self._ready

    async def predict(self, match_id: str, alias: str) -> dict[str, Any]:
        """Return a prediction made now by the model under an alias, with an explanation where the model has one."""
        path = f"/predict/{int(match_id)}"
        try:
            return await self._predict(path, {"stage": alias, "explain": "true"})
        except ApiFailure as failure:
            if failure.code != "explanation-unavailable":
                raise
            return await self._predict(path, {"stage": alias})

    async def _predict(self, path: str, params: Params) -> dict[str, Any]:
        reply = await self.client.send(ApiRequest(path, params, timeout_s=LIVE_TIMEOUT_S))
        try:
            # without the id: 63 bits do not fit into a JavaScript number
            return LivePredictionOut.model_validate_json(reply.body or b"").model_dump(
                mode="json", exclude={"match_id"}
            )
        except ValueError as error:
            raise ApiFailure.unreadable() from error


def render_card(card: CardOut) -> dict[str, Any]:
    """Return one match for the browser; instants are epoch milliseconds, outcomes 0 home, 1 draw, 2 away."""
    return {
        "id": str(card.match_id),  # 63 bits do not fit into a JavaScript number
        "t": _millis(card.kickoff_utc),
        "timed": card.kickoff_known,
        "region": card.region,
        "tour": card.tournament,
        "home": card.home_team,
        "away": card.away_team,
        "status": card.status,
        "score": None if card.home_score is None else [card.home_score, card.away_score],
        "p": list_outcomes(card.probabilities),
        "pick": OUTCOMES.index(card.predicted),
        "out": None if card.outcome is None else OUTCOMES.index(card.outcome),
        "hit": card.hit,
        "ins": card.in_sample,
        "thin": card.too_little_history,
        "model": [card.model.name, card.model.version, card.model.stage, card.model.run_id],
        "at": _millis(card.computed_at),
        "why": card.no_odds_reason,
        "money": None if card.money is None else _money(card.money),
        "consensus": _consensus_behind_edges(card),
        "roi": None if card.region_roi is None else _region_roi(card.region_roi),
    }


def _consensus_behind_edges(card: CardOut) -> list[float] | None:
    """Return the probabilities that the card's edges come from; None where those are the model's own."""
    if card.money is None or card.consensus is None:
        return None
    money = card.money
    edges = (money.edge_home, money.edge_draw, money.edge_away)
    own = (money.model_edge_home, money.model_edge_draw, money.model_edge_away)
    return None if edges == own else list_outcomes(card.consensus)


def _money(money: CardMoneyOut) -> dict[str, Any]:
    return {
        "odds": list_outcomes(money.odds),
        "fair": list_outcomes(money.fair),
        "edge": [money.edge_home, money.edge_draw, money.edge_away],
        "best": OUTCOMES.index(money.best_outcome),
        "value": money.is_value,
        "kelly": money.kelly_stake,
        "profit": money.profit,
        "margin": money.overround,
        "maker": money.bookmaker,
        "url": keep_safe_link(money.event_url),
        "at": _millis(money.captured_at),
    }


def _region_roi(roi: RegionRoiRefOut) -> dict[str, Any]:
    return {"pct": roi.roi_pct, "n": roi.n_bets, "low": roi.ci_low, "high": roi.ci_high}


def keep_safe_link(url: str | None) -> str | None:
    """Return the link if it is plain https to a named host, else None; scraped links may be anything."""
    if url is None or not url.startswith("https://"):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.hostname and parts.username is None else None


def list_outcomes(prices: ProbabilitiesOut | Odds1X2Out) -> list[float]:
    """Return the values in the order home, draw, away."""
    return [round(prices.home, 5), round(prices.draw, 5), round(prices.away, 5)]


def _millis(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
