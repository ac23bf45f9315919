"""Precomputed predictions, odds and what there is to filter by."""

import orjson
from aiohttp import web

from app.api import bulk
from app.api.bulk import Content
from app.api.selections import selection_of
from app.errors import MatchNotFound
from app.schemas import AsOfQuery, FacetsQuery, ListQuery, MatchPath
from app.store import facets, match_history, odds, predictions
from app.store.forms import Form
from app.store.snapshot import Snapshot


async def list_predictions(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """All precomputed predictions, by kick-off."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({"count": snapshot.n_matches}, predictions.all_predictions().picked(query.named()))

    return await bulk.answer(request, find, query)


async def get_precomputed(request: web.Request, path: MatchPath, query: AsOfQuery) -> web.StreamResponse:
    """One precomputed prediction."""

    async def find(snapshot: Snapshot) -> Content:
        row = await predictions.find_prediction(snapshot, path.match_id)
        if row is None:
            raise MatchNotFound.of(path.match_id)
        return Content(row)

    return await bulk.answer(request, find, query, forms=(Form.JSON,))


async def list_odds(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """The newest 1X2 odds of every match that has any, by kick-off."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({"count": snapshot.n_odds}, odds.all_odds().picked(query.named()))

    return await bulk.answer(request, find, query)


async def get_history(request: web.Request, path: MatchPath, query: AsOfQuery) -> web.StreamResponse:
    """Odds and predictions of one match over time."""

    async def find(snapshot: Snapshot) -> Content:
        found = await match_history.find_history(snapshot, path.match_id, query.as_of)
        if found is None:
            raise MatchNotFound.of(path.match_id)
        return Content(orjson.dumps(found, option=orjson.OPT_UTC_Z))

    return await bulk.answer(request, find, query, forms=(Form.JSON,))


async def list_facets(request: web.Request, query: FacetsQuery) -> web.StreamResponse:
    """Regions, tournaments and statuses to filter by, and how many matches of a selection each has."""

    async def find(snapshot: Snapshot) -> Content:
        found = await facets.of_selection(snapshot, selection_of(query))
        return Content(found.members, found.places.picked(query.named()))

    return await bulk.answer(request, find, query)
