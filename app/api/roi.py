"""Return on stakes: by region, and over any selection of matches."""

from aiohttp import web

from app.api import responses
from app.api.responses import Content
from app.api.selections import read_selection
from app.domain.roi import CI_METHOD
from app.schemas import ListQuery, RoiQuery
from app.store import performance, roi
from app.store.formats import Format
from app.store.snapshot import Snapshot


async def list_region_roi(request: web.Request, query: ListQuery) -> web.StreamResponse:
    """Live-betting ROI by region: every bet settled until each row's time."""

    async def find(snapshot: Snapshot) -> Content:
        stated = {"bookmaker": snapshot.bookmaker, "min_bets": snapshot.rules.min_bets}
        members = stated | {"ci_method": CI_METHOD, "in_sample": query.as_of is None}
        return Content(members, roi.newest_region_roi(snapshot).picked(query.named()))

    return await responses.respond_from_snapshot(request, find, query)


async def get_roi(request: web.Request, query: RoiQuery) -> web.StreamResponse:
    """ROI and accuracy over exactly the selected matches."""

    async def find(snapshot: Snapshot) -> Content:
        found = await roi.selection_roi(snapshot, read_selection(query), query.staking)
        rules = snapshot.rules
        stated = {"staking": query.staking.value, "value_edge": rules.value_edge, "min_bets": rules.min_bets}
        return Content(stated | {"ci_method": CI_METHOD} | found.members())

    return await responses.respond_from_snapshot(request, find, query, forms=(Format.JSON,))


async def get_performance(request: web.Request, query: RoiQuery) -> web.StreamResponse:
    """How model and value bets did on exactly the selected matches, as series to draw."""

    async def find(snapshot: Snapshot) -> Content:
        found = await performance.selection_performance(snapshot, read_selection(query), query.staking)
        rules = snapshot.rules
        stated = {"staking": query.staking.value, "value_edge": rules.value_edge, "min_bets": rules.min_bets}
        return Content({**stated, **found})

    return await responses.respond_from_snapshot(request, find, query, forms=(Format.JSON,))
