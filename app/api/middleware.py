"""What happens to every request: an id, a line in the log, a count."""

import re
import time
from uuid import uuid4

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from app import keys
from app.api.headers import REQUEST_ID_HEADER

log = structlog.get_logger("app.access")
UNMATCHED = "unmatched"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OTHER_METHOD = "other"
# their callers ask every few seconds; a line each would drown the rest
_QUIET = frozenset({"/livez", "/readyz", "/metrics", "/healthcheck/"})


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the caller's id of the request, or make one; it stands in every log line and answer."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    identity = given if _GIVEN_ID.fullmatch(given) else uuid4().hex
    request[keys.REQUEST_ID] = identity
    with structlog.contextvars.bound_contextvars(request_id=identity):
        return await handler(request)


@web.middleware
async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log and count the request."""
    started = time.perf_counter()
    status = 499  # the client went away
    try:
        response = await handler(request)
        status = response.status
    except web.HTTPException as error:
        status = error.status  # a redirect; failures are problems by now
        raise
    finally:
        _note(request, status, time.perf_counter() - started)
    return response


def _note(request: web.Request, status: int, duration_s: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else UNMATCHED
    method = request.method if request.method in hdrs.METH_ALL else _OTHER_METHOD
    request.app[keys.METRICS].count_request(route, method, status, duration_s)
    if route not in _QUIET:
        log.info(
            "request",
            method=method,
            path=request.path,
            status=status,
            duration_ms=round(1000 * duration_s, 2),
            key=request.get(keys.CALLER),
        )
