"""Return on stakes: by region, and over any selection of matches.

Alone because each resource of the API has its handler module.
"""

from typing import Any

from aiohttp import web

from app.api.responses import Content, bulk_read
from app.api.selections import read_selection
from app.domain.roi import CI_METHOD
from app.schemas import ListQuery, RoiQuery
from app.store import performance, roi
from app.store.formats import Format
from app.store.snapshot import Snapshot


@bulk_read()
async def list_region_roi(request: web.Request, snapshot: Snapshot, query: ListQuery) -> Content:
    """Live-betting ROI by region: every bet settled until each row's time."""
    members = {
        "bookmaker": snapshot.bookmaker,
        "min_bets": snapshot.rules.min_bets,
        "ci_method": CI_METHOD,
        "in_sample": query.as_of is None,
    }
    return Content(members, roi.newest_region_roi(snapshot).select(query.field_names()))


@bulk_read(Format.JSON)
async def get_roi(request: web.Request, snapshot: Snapshot, query: RoiQuery) -> Content:
    """ROI and accuracy over exactly the selected matches."""
    figures = await roi.selection_roi(snapshot, read_selection(query), query.staking)
    return Content(_rules(snapshot, query) | {"ci_method": CI_METHOD} | figures.members())


@bulk_read(Format.JSON)
async def get_performance(request: web.Request, snapshot: Snapshot, query: RoiQuery) -> Content:
    """How model and value bets did on exactly the selected matches, as series to draw."""
    series = await performance.selection_performance(snapshot, read_selection(query), query.staking)
    return Content({**_rules(snapshot, query), **series})


def _rules(snapshot: Snapshot, query: RoiQuery) -> dict[str, Any]:
    rules = snapshot.rules
    return {
        "staking": query.staking.value,
        "value_edge": rules.value_edge,
        "edge_from": snapshot.edge_from.value,
        "min_bets": rules.min_bets,
    }
