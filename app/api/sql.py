"""SQL of a caller over the snapshot that is served.

Alone because each resource of the API has its handler module.
"""

from aiohttp import web

from app import appkeys
from app.api.negotiation import form_of
from app.api.responses import SNAPSHOT_HEADER
from app.errors import SqlOff
from app.schemas import SqlIn
from app.sql.render import ARROW, CSV, JSON
from app.store.formats import Format

SQL_MEDIA = (JSON, CSV, ARROW)
ROWS_HEADER = "X-Total-Count"
_FORMATS = {"json": JSON, "csv": CSV, "arrow": ARROW}


async def run_sql(request: web.Request, body: SqlIn) -> web.Response:
    """The answer of a query over predictions, odds, cards, features and region_roi of the snapshot being served.

    One SELECT, FROM or EXPLAIN of DuckDB, in a process of its own that can write nothing and is killed past the limits.
    JSON is {columns: [{name, type}], rows: [[...]]}; CSV and an Arrow IPC stream by `Accept` or `format`.
    """
    desk = request.app[appkeys.SQL]
    if desk is None:
        raise SqlOff("An operator can allow it with SQL_ENABLED=true.")
    accept = request.headers.get("Accept", "*/*")
    media = _FORMATS[body.format] if body.format else form_of(accept, (Format.JSON, Format.CSV, Format.ARROW)).value
    answered = await desk.ask(request.app[appkeys.SNAPSHOTS], body.sql, media)
    headers = {
        SNAPSHOT_HEADER: answered.snapshot_id,
        ROWS_HEADER: str(answered.n_rows),
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    return web.Response(body=answered.body, content_type=media, headers=headers)
