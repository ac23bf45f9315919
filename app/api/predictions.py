"""Precomputed predictions, odds and what there is to filter by."""

from aiohttp import web

from app.api import bulk
from app.api.bulk import Content
from app.errors import MatchNotFound
from app.schemas import MatchPath
from app.store import facets, odds, predictions
from app.store.listing import Form
from app.store.snapshot import Snapshot


async def list_predictions(request: web.Request) -> web.StreamResponse:
    """All precomputed predictions, by kick-off."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({"count": snapshot.n_matches}, predictions.all_predictions())

    return await bulk.answer(request, find)


async def get_precomputed(request: web.Request, path: MatchPath) -> web.StreamResponse:
    """One precomputed prediction."""

    async def find(snapshot: Snapshot) -> Content:
        row = await predictions.find_prediction(snapshot, path.match_id)
        if row is None:
            raise MatchNotFound.of(path.match_id)
        return Content(row)

    return await bulk.answer(request, find, forms=(Form.JSON,))


async def list_odds(request: web.Request) -> web.StreamResponse:
    """The newest 1X2 odds of every match that has any, by kick-off."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({"count": snapshot.n_odds}, odds.all_odds())

    return await bulk.answer(request, find)


async def list_facets(request: web.Request) -> web.StreamResponse:
    """Regions and tournaments, and how many matches each has."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({}, facets.all_facets())

    return await bulk.answer(request, find)
