"""The one middleware: identify a request, check where it comes from, answer every failure as a problem, record it."""

import time

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from app import appkeys
from app.api.headers import answer_preflight, check_host, check_origin, identify
from app.api.problems import problem_of_exception
from app.telemetry.logging import request_log
from app.telemetry.tracing import Kind, Span

UNMATCHED = "unmatched"
_OTHER_METHOD = "other"
# their callers ask every few seconds; a line each would drown the rest
_QUIET = frozenset({"/livez", "/readyz", "/metrics", "/healthcheck/"})


@web.middleware
async def handle_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request; one pass, because each middleware costs every request."""
    started = time.perf_counter()
    identity = identify(request)
    # aiohttp runs each request in a context of its own, so nothing is to be taken back
    structlog.contextvars.bind_contextvars(request_id=identity, trace_id=request[appkeys.TRACE].trace_id)
    status = 499  # the client went away
    try:
        try:
            check_host(request)
            if request.method == hdrs.METH_GET:  # what changes nothing is asked from anywhere
                response = await handler(request)
            else:
                check_origin(request)
                response = answer_preflight(request) or await handler(request)
        except Exception as error:
            if (problem := problem_of_exception(request, error)) is None:
                raise
            response = problem
        status = response.status
    except web.HTTPException as error:
        status = error.status  # a redirect
        raise
    finally:
        _record_request(request, status, time.perf_counter() - started)
    return response


def _record_request(request: web.Request, status: int, duration_s: float) -> None:
    app, trace = request.app, request[appkeys.TRACE]
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else UNMATCHED
    method = request.method if request.method in hdrs.METH_ALL else _OTHER_METHOD
    app[appkeys.METRICS].count_request(route, method, status, duration_s)
    export = app[appkeys.EXPORT]
    if export is not None and trace.is_sampled:
        export.record(_span(request, f"{method} {route}", status, duration_s))
    if route not in _QUIET:
        line = {
            "method": method,
            "path": request.path,
            "status": status,
            "duration_ms": round(1000 * duration_s, 2),
            "key": request.get(appkeys.CALLER),
        }
        request_log.write(request[appkeys.REQUEST_ID], trace.trace_id, line)


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
