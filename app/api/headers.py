"""Headers that every answer carries: its request, the caller's quota, and what a browser may do with it."""

import re
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from os import urandom
from time import time
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter

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
    headers, app = request.headers, request.app
    given = headers.get(REQUEST_ID_HEADER)
    identity = given if given is not None and _GIVEN_ID.fullmatch(given) else urandom(16).hex()
    request[appkeys.REQUEST_ID] = identity
    share = app[appkeys.TRACING].sampled_share if app[appkeys.EXPORT] else 0.0
    request[appkeys.TRACE] = begin_trace(headers.get(TRACEPARENT_HEADER), share=share)
    return identity


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Complete an answer's head, which for a streamed one is written before the handler returns."""
    if appkeys.REQUEST_ID not in request:
        identify(request)  # refused before it came to us, as an unknown Expect is
    headers = response.headers
    # what says nothing of itself is of this moment, and for this caller
    headers.setdefault(hdrs.CACHE_CONTROL, "no-cache" if isinstance(response, web.FileResponse) else "no-store")
    headers.setdefault(hdrs.CONTENT_SECURITY_POLICY, _POLICY)
    headers.update(_FIXED)
    if varies := _varies(request):
        vary = headers.get(hdrs.VARY)
        headers[hdrs.VARY] = f"{vary}, {varies}" if vary else varies
    headers.update(_of_request(request))


def _of_request(request: web.Request) -> dict[str, str]:
    """The headers that no other request has."""
    trace = request[appkeys.TRACE]
    headers = {
        REQUEST_ID_HEADER: request[appkeys.REQUEST_ID],
        TRACEPARENT_HEADER: f"00-{trace.trace_id}-{trace.span_id}-{trace.is_sampled:02x}",
    }
    if (quota := request.get(appkeys.QUOTA)) is not None:
        headers |= quota_headers(quota)
    if hdrs.ORIGIN in request.headers and (origin := _allowed_origin(request)):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
    return headers


def _varies(request: web.Request) -> str:
    """What an answer depends on beside what its handler says."""
    if request.app[appkeys.HTTP].cors_origins:
        return f"{_KEY_HEADERS}, {hdrs.ORIGIN}" if request.get(appkeys.IS_GUARDED) else hdrs.ORIGIN
    return _KEY_HEADERS if request.get(appkeys.IS_GUARDED) else ""


class WrittenResponse(web.StreamResponse):
    """An answer to a GET of HTTP/1.1 whose head is written already, but for the lines of its request.

    aiohttp's way through a dictionary of headers takes as long as all else that an answer takes.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status=status)
        self._written = tuple(headers.items())
        self._content = body
        self._is_last = False

    @property
    def keep_alive(self) -> bool:
        """Whether the connection goes on after it."""
        return not self._is_last

    def force_close(self) -> None:
        """End the connection after it."""
        self._is_last = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send it whole."""
        assert isinstance(request, web.Request)  # noqa: S101  # from a handler
        self._is_last = self._is_last or not request.keep_alive
        lines = [
            written_head(self.status, self._written, _varies(request)),
            *(f"{name}: {value}\r\n" for name, value in _of_request(request).items()),
            f"Date: {http_date(int(time()))}\r\n",
        ]
        if self.status != HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Length: {len(self._content)}\r\n")
        if self._is_last:
            lines.append("Connection: close\r\n")
        await request.writer.write("".join([*lines, "\r\n"]).encode() + self._content)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: it is sent."""


@lru_cache(4096)
def written_head(status: int, headers: tuple[tuple[str, str], ...], varies: str) -> str:
    """Return the status line and the lines of these headers and of those that every answer has."""
    named = dict(headers)
    vary = ", ".join(filter(None, (named.get(hdrs.VARY), varies)))
    named = {hdrs.CONTENT_SECURITY_POLICY: _POLICY} | named | _FIXED | ({hdrs.VARY: vary} if vary else {})
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in named.items())]
    if any(sign in line for line in lines for sign in "\r\n\0"):
        raise ValueError("a header has a line break in it")
    return "\r\n".join([*lines, ""])


@lru_cache(2)
def http_date(unix_s: int) -> str:
    """Return a time as a header has it."""
    return formatdate(unix_s, usegmt=True)


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
