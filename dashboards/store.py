"""What the page shows, as data: windows of cards, results, regions, live predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.schemas import CardsOut, FacetsOut, LivePredictionOut, RoiOut, SnapshotOut
from dashboards.cache import Cache, Kept
from dashboards.client import LIVE_TIMEOUT_S, ApiClient, ApiFailure
from dashboards.rows import row_of

WINDOW_ROWS = 200  # rows a browser gets at once: two screens on a phone, ten on a desk
TTL_S = 15.0  # how long an answer is shown to others without asking again


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


class Store:
    """The read side of the page, shared by all sessions of a process."""

    def __init__(self, client: ApiClient, *, value_edge: float, ttl_s: float = TTL_S) -> None:
        self.client = client
        self.value_edge = value_edge
        self._windows = Cache(client, Window.parse, ttl_s=ttl_s, size=128)
        self._results = Cache(client, RoiOut.model_validate_json, ttl_s=ttl_s, size=256)
        self._facets = Cache(client, FacetsOut.model_validate_json, ttl_s=ttl_s, size=64)

    async def window(self, asked: Mapping[str, str], *, sort: str, cursor: str | None = None) -> Kept[Window]:
        """A page of the filtered cards."""
        page = {"sort": sort, "limit": str(WINDOW_ROWS)} | ({"cursor": cursor} if cursor else {})
        kept = await self._windows.get("/predict/cards/", {**asked, **page})
        self.value_edge = kept.value.value_edge  # the API's threshold is the one that counts
        return kept

    async def results(self, asked: Mapping[str, str]) -> Kept[RoiOut]:
        """What the settled value bets among the filtered matches gave."""
        return await self._results.get("/predict/roi/", asked)

    async def facets(self) -> Kept[FacetsOut]:
        """The regions and tournaments there are."""
        return await self._facets.get("/predict/facets/", {})

    async def predict(self, match_id: str, stage: str) -> dict[str, Any]:
        """A prediction made now by the model under an alias."""
        path = f"/predict/{int(match_id)}"
        reply = await self.client.get(path, {"stage": stage}, timeout_s=LIVE_TIMEOUT_S)
        try:
            # without the id: 63 bits do not fit into a JavaScript number
            return LivePredictionOut.model_validate_json(reply.body or b"").model_dump(
                mode="json", exclude={"match_id"}
            )
        except ValueError as error:
            raise ApiFailure.unreadable() from error
