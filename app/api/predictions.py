"""Precomputed predictions, odds and what there is to filter by."""

import orjson
from aiohttp import web

from app.api import responses
from app.api.responses import Content
from app.api.selections import read_selection
from app.errors import MatchNotFound
from app.schemas import AsOfQuery, FacetsQuery, ListQuery, MatchPath
from app.store import facets, match_history, odds, predictions
from app.store.formats import Format
from app.store.snapshot import Snapshot


async def list_predictions(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """All precomputed predictions, by kick-off."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({"count": snapshot.n_matches}, predictions.all_predictions().picked(query.named()))

    return await responses.respond_from_snapshot(request, find, query)


async def get_precomputed(request: web.Request, path: MatchPath, query: AsOfQuery) -> web.StreamResponse:
    """One precomputed prediction."""

    async def find(snapshot: Snapshot) -> Content:
        row = await predictions.find_prediction(snapshot, path.match_id)
        if row is None:
            raise MatchNotFound.of(path.match_id)
        return Content(row)

    return await responses.respond_from_snapshot(request, find, query, forms=(Format.JSON,))


async def list_odds(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """The newest 1X2 odds of every match that has any, by kick-off."""

    async def find(snapshot: Snapshot) -> Content:
        return Content({"count": snapshot.n_odds}, odds.all_odds().picked(query.named()))

    return await responses.respond_from_snapshot(request, find, query)


async def get_history(request: web.Request, path: MatchPath, query: AsOfQuery) -> web.StreamResponse:
    """Odds and predictions of one match over time."""

    async def find(snapshot: Snapshot) -> Content:
        found = await match_history.find_history(snapshot, path.match_id, query.as_of)
        if found is None:
            raise MatchNotFound.of(path.match_id)
        return Content(orjson.dumps(found, option=orjson.OPT_UTC_Z))

    return await responses.respond_from_snapshot(request, find, query, forms=(Format.JSON,))


async def list_facets(request: web.Request, query: FacetsQuery) -> web.StreamResponse:
    """Regions, tournaments and statuses to filter by, and how many matches of a selection each has."""

    async def find(snapshot: Snapshot) -> Content:
        found = await facets.selection_facets(snapshot, read_selection(query))
        return Content(found.members, found.places.picked(query.named()))

    return await responses.respond_from_snapshot(request, find, query)
