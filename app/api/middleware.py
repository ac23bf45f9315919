"""Every request: an id and a trace, a line in the log, a count, a span."""

import time

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from app import appkeys
from app.api.headers import identify
from app.telemetry.tracing import Kind, Span

log = structlog.get_logger("app.auth")
UNMATCHED = "unmatched"
_OTHER_METHOD = "other"
# their callers ask every few seconds; a line each would drown the rest
_QUIET = frozenset({"/livez", "/readyz", "/metrics", "/healthcheck/"})


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id and trace before anything else sees it."""
    identity = identify(request)
    with structlog.contextvars.bound_contextvars(request_id=identity, trace_id=request[appkeys.TRACE].trace_id):
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
        _record_request(request, status, time.perf_counter() - started)
    return response


def _record_request(request: web.Request, status: int, duration_s: float) -> None:
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else UNMATCHED
    method = request.method if request.method in hdrs.METH_ALL else _OTHER_METHOD
    request.app[appkeys.METRICS].count_request(route, method, status, duration_s)
    export = request.app[appkeys.EXPORT]
    if export is not None and request[appkeys.TRACE].is_sampled:
        export.record(_span(request, f"{method} {route}", status, duration_s))
    if route not in _QUIET:
        log.info(
            "request",
            method=method,
            path=request.path,
            status=status,
            duration_ms=round(1000 * duration_s, 2),
            key=request.get(appkeys.CALLER),
        )


def _span(request: web.Request, name: str, status: int, duration_s: float) -> Span:
    now_s = time.time()
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": request.method,
        "url.path": request.path,
        "http.response.status_code": status,
        "request_id": request[appkeys.REQUEST_ID],
    }
    trace = request[appkeys.TRACE]
    return Span(name, trace, Kind.SERVER, now_s - duration_s, now_s, attributes, is_error=status >= 500)
