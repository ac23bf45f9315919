"""Answers too large to keep, sent piece by piece so that a cut one can be told from a whole one."""

from collections.abc import Callable, Iterator

import structlog
from aiohttp import web

from app import keys
from app.store.lake import Connection, Query

log = structlog.get_logger(__name__)


async def send_pieces(
    request: web.Request, response: web.StreamResponse, query: Query, make: Callable[[Connection], Iterator[bytes]]
) -> web.StreamResponse:
    """Send what `make` gives, each piece made in a thread when the one before is on its way.

    The first piece is made before the head is sent, so a query that fails at once is a problem as any other. After
    that a failure breaks the connection off: the chunk that ends the answer never comes, and every client notices.
    """
    pieces = await query.step(make)
    first = await query.step(lambda _: next(pieces, b""))
    await response.prepare(request)
    try:
        if first:
            await response.write(first)
        while (piece := await query.step(lambda _: next(pieces, None))) is not None:
            if piece:  # an empty one would be the chunk that ends the answer
                await response.write(piece)
    except Exception as error:
        log.exception("answer cut short", error=type(error).__name__, request_id=request.get(keys.REQUEST_ID))
        _break_off(request)
        return response
    await response.write_eof()
    return response


def _break_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
