"""Headers that every answer carries: its request, the caller's quota, and what a browser may do with it."""

import re
import secrets
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from app import appkeys
from app.api.auth import KEY_HEADER, quota_headers
from app.errors import HostUnknown, OriginRefused
from app.settings import is_loopback
from app.telemetry.tracing import begin_trace

REQUEST_ID_HEADER = "X-Request-ID"
TRACEPARENT_HEADER = "traceparent"
_FIXED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    hdrs.SERVER: "touchline",  # its default tells the versions of Python and aiohttp
}
# a page of ours says what it needs; data needs nothing, and nobody frames it
_POLICY = "default-src 'none'; frame-ancestors 'none'"
_METHODS = "GET, HEAD, POST"
_ASKED = (
    "Accept, Authorization, Content-Type, If-None-Match, Last-Event-ID, "
    f"{KEY_HEADER}, {REQUEST_ID_HEADER}, {TRACEPARENT_HEADER}"
)
_EXPOSED = (
    "Age, Content-Disposition, ETag, Link, Location, RateLimit, RateLimit-Policy, Retry-After, Touchline-Snapshot, "
    f"WWW-Authenticate, X-Total-Count, {REQUEST_ID_HEADER}, {TRACEPARENT_HEADER}"
)
_SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_OWN_SITES = frozenset({"same-origin", "none"})
_KEY_HEADERS = f"{KEY_HEADER}, {hdrs.AUTHORIZATION}"
_PREFLIGHT_MAX_AGE_S = 600
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def identify(request: web.Request) -> str:
    """Take the caller's id and trace of the request, or make them; both stand in every log line and answer."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    identity = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(16)
    request[appkeys.REQUEST_ID] = identity
    share = request.app[appkeys.TRACING].sampled_share if request.app[appkeys.EXPORT] else 0.0
    request[appkeys.TRACE] = begin_trace(request.headers.get(TRACEPARENT_HEADER), share=share)
    return identity


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete an answer's head, which for a streamed one is written before the handler returns."""
    headers = response.headers
    if appkeys.REQUEST_ID not in request:
        identify(request)  # refused before it came to us, as an unknown Expect is
    headers[REQUEST_ID_HEADER] = request[appkeys.REQUEST_ID]
    headers[TRACEPARENT_HEADER] = request[appkeys.TRACE].header
    headers.setdefault(hdrs.CONTENT_SECURITY_POLICY, _POLICY)
    headers.update(_FIXED)
    quota = request.get(appkeys.QUOTA)
    if quota is not None:
        headers.update(quota_headers(quota))
    # what says nothing of itself is of this moment, and for this caller
    headers.setdefault(hdrs.CACHE_CONTROL, "no-cache" if isinstance(response, web.FileResponse) else "no-store")
    if request.get(appkeys.IS_GUARDED):
        _add_vary(response, _KEY_HEADERS)
    if request.app[appkeys.HTTP].cors_origins:
        _add_cors(request, response)


def _add_vary(response: web.StreamResponse, names: str) -> None:
    vary = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{vary}, {names}" if vary else names


def _add_cors(request: web.Request, response: web.StreamResponse) -> None:
    _add_vary(response, hdrs.ORIGIN)
    if origin := _allowed_origin(request):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED


def _allowed_origin(request: web.Request) -> str | None:
    origin = request.headers.get(hdrs.ORIGIN)
    return origin if origin in request.app[appkeys.HTTP].cors_origins else None


def check_host(request: web.Request) -> None:
    """Raise HostUnknown when a service on loopback is asked under a name that is not loopback's.

    A page whose own name an attacker points at 127.0.0.1 (DNS rebinding) would read everything as its own origin.
    """
    http = request.app[appkeys.HTTP]
    if not http.is_loopback:
        return
    name = _host_name(request.headers.get(hdrs.HOST, "localhost"))
    if not (is_loopback(name) or name in http.allowed_hosts):
        raise HostUnknown(f"No service here is called {name[:100]!r}; an operator can add it to ALLOWED_HOSTS.")


def check_origin(request: web.Request) -> None:
    """Raise OriginRefused when a page of another origin sends what changes something.

    A browser sends a plain POST of any page without asking first, and what it does is done though nobody may read it.
    """
    if request.method in _SAFE_METHODS:
        return
    origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get("Sec-Fetch-Site")
    if site in _OWN_SITES or (origin is None and site is None) or _allowed_origin(request):
        return
    if site is None and origin is not None and urlsplit(origin).netloc == request.host:
        return
    raise OriginRefused(f"{(origin or 'That origin')[:100]} is none of CORS_ORIGINS.")


@lru_cache(1024)
def _host_name(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def answer_preflight(request: web.Request) -> web.Response | None:
    """Answer a browser that asks whether a page of another origin may send its request; it shows no key yet."""
    if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
        return None
    if not _allowed_origin(request):
        return None
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ASKED,
        hdrs.ACCESS_CONTROL_MAX_AGE: str(_PREFLIGHT_MAX_AGE_S),
    }
    return web.Response(status=204, headers=headers)
