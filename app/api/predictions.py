"""Precomputed predictions, odds and what there is to filter by.

Alone because each resource of the API has its handler module.
"""

import orjson
from aiohttp import web

from app import appkeys
from app.api.responses import Content, bulk_read, find_cached_response, respond_with_row
from app.api.selections import read_selection
from app.errors import MatchNotFound
from app.schemas import AsOfQuery, FacetsQuery, ListQuery, MatchPath
from app.store import bookmakers, facets, match_history, odds, predictions
from app.store.formats import Format
from app.store.snapshot import Snapshot

_MAX_DIGITS = 20  # of a number that may be a match


@bulk_read()
async def list_predictions(request: web.Request, snapshot: Snapshot, query: ListQuery) -> Content:
    """All precomputed predictions, by kick-off."""
    names = query.field_names()
    written = None if names else snapshot.row_file(predictions.ROWS)
    return Content({"count": snapshot.n_matches}, predictions.all_predictions().select(names), written=written)


def find_written_prediction(request: web.Request) -> web.StreamResponse | None:
    """Answer `get_precomputed` at once, where the prediction is written and nothing is asked beside it."""
    snapshots, text = request.app[appkeys.SNAPSHOTS], request.match_info["match_id"]
    snapshot = snapshots.current
    rows = snapshot.row_file(predictions.ROWS) if snapshot is not None else None
    if snapshot is None or rows is None:
        return find_cached_response(request)
    row = rows.find(int(text)) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else None
    return None if row is None else respond_with_row(request, snapshot, row, is_stale=snapshots.is_stale)


@bulk_read(Format.JSON)
async def get_precomputed(request: web.Request, snapshot: Snapshot, path: MatchPath, query: AsOfQuery) -> Content:
    """One precomputed prediction."""
    row = await predictions.find_prediction(snapshot, path.match_id)
    if row is None:
        raise MatchNotFound.for_match(path.match_id)
    return Content(row)


@bulk_read()
async def list_odds(request: web.Request, snapshot: Snapshot, query: ListQuery) -> Content:
    """The newest 1X2 odds of every match that has any, by kick-off."""
    return Content({"count": snapshot.n_odds}, odds.all_odds().select(query.field_names()))


@bulk_read(Format.JSON)
async def get_history(request: web.Request, snapshot: Snapshot, path: MatchPath, query: AsOfQuery) -> Content:
    """Odds and predictions of one match over time."""
    history = await match_history.find_history(snapshot, path.match_id, query.as_of)
    if history is None:
        raise MatchNotFound.for_match(path.match_id)
    return Content(orjson.dumps(history, option=orjson.OPT_UTC_Z))


@bulk_read(Format.JSON)
async def get_bookmakers(request: web.Request, snapshot: Snapshot, path: MatchPath, query: AsOfQuery) -> Content:
    """What every bookmaker offers on a match: age, margin, movement, and which prices the others contradict."""
    found = await bookmakers.find_bookmakers(snapshot, path.match_id, query.as_of)
    if found is None:
        raise MatchNotFound.for_match(path.match_id)
    return Content(orjson.dumps(found, option=orjson.OPT_UTC_Z))


@bulk_read()
async def list_facets(request: web.Request, snapshot: Snapshot, query: FacetsQuery) -> Content:
    """Regions, tournaments and statuses to filter by, and how many matches of a selection each has."""
    counts = await facets.selection_facets(snapshot, read_selection(query))
    return Content(counts.members, counts.places.select(query.field_names()))
