"""The change feed as server-sent events."""

import asyncio
import secrets

from aiohttp import web

from app import appkeys
from app.api.auth import is_still_authorized
from app.auth.keys import Scope
from app.events.feed import Subscription

EVENT_STREAM = "text/event-stream"
_HEARTBEAT = b":\n\n"
_RETRY_MS = (1000, 5000)  # a random one each, so that not all come back in the same moment after a restart
_WRITE_TIMEOUT_S = 30.0
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events back until a buffer is full
}


async def follow_events(request: web.Request) -> web.StreamResponse:
    """What changes: snapshots, models, and the odds and predictions of matches, as server-sent events.

    Events are `snapshot` {id, built_at, source, stale}, `model` {alias, version}, `odds` and `predictions`
    {snapshot, match_ids, total, truncated}. A new listener is first told which snapshot and models there are. With
    `Last-Event-ID` it is told what it has missed, or `reset` when that is not known any more: then everything has to be
    read anew. A comment comes every `EVENT_HEARTBEAT_S`; a listener that does not keep up, or whose key has ended, is
    disconnected. One key, or one address
    while no key is needed, may hold half of `EVENT_CLIENTS`.
    """
    response = web.StreamResponse(headers=_HEADERS)
    response.content_type = EVENT_STREAM
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    feed, last_id = request.app[appkeys.FEED], request.headers.get("Last-Event-ID")
    with feed.listen(last_id, lambda: _abort(request), caller=request[appkeys.CLIENT]) as listener:
        await response.prepare(request)
        try:
            await _tell(request, response, listener)
        except (ConnectionError, TimeoutError):
            # the other side has gone, reads nothing, or was dropped: nobody is left to tell
            _abort(request)
    return response


async def _tell(request: web.Request, response: web.StreamResponse, listener: Subscription) -> None:
    heartbeat_s = request.app[appkeys.SETTINGS].event_heartbeat_s
    shortest, longest = _RETRY_MS
    await response.write(b"retry: %d\n\n" % (shortest + secrets.randbelow(longest - shortest)))
    while (events := await listener.take(heartbeat_s)) is not None and is_still_authorized(request, Scope.READ):
        async with asyncio.timeout(_WRITE_TIMEOUT_S):
            await response.write(b"".join(event.encode() for event in events) or _HEARTBEAT)
    await response.write_eof()


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
