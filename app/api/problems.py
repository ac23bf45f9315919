"""Failures as RFC 9457 problems: one shape, whatever went wrong."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web

from app import appkeys
from app.errors import KeyInvalid, KeyMissing, ScopeMissing, ServiceError

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
# what a client needs to act on aiohttp's own failures
_KEPT_HEADERS = ("Accept-Encoding", "Allow", "WWW-Authenticate", "Retry-After")
HTTP_CODES = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "request-timeout",
    413: "body-too-large",
    414: "url-too-long",
    415: "unsupported-media-type",
    417: "expectation-failed",
    431: "headers-too-large",
}


def problem_of_exception(request: web.Request, error: Exception) -> web.Response | None:
    """Return whatever a handler raised as a problem; None for a redirect, which is no failure."""
    if isinstance(error, ServiceError):
        if error.status >= 500:
            log.warning("request.failed", code=error.code, detail=error.detail)
        return problem_of_error(request, error)
    if isinstance(error, web.HTTPException):
        return None if error.status < 400 else problem_of_http_error(request, error)
    # the cause goes to the log alone: it may name paths, SQL or secrets
    log.error("request.crashed", error=type(error).__name__, exc_info=error)
    return problem(request, 500, "internal-error", "Internal error", "Something unexpected went wrong.")


def problem_of_http_error(request: web.BaseRequest, error: web.HTTPException) -> web.Response:
    """Return a failure that aiohttp raises as a problem."""
    headers = {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}
    code = HTTP_CODES.get(error.status, "http-error")
    return problem(request, error.status, code, HTTPStatus(error.status).phrase, error.text or "", headers=headers)


def problem_of_error(request: web.Request, error: ServiceError) -> web.Response:
    """An expected failure as a problem."""
    headers = _challenge(error)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return problem(request, error.status, error.code, error.title, error.detail, headers=headers, extras=error.extras)


def _challenge(error: ServiceError) -> dict[str, str]:
    """What RFC 6750 has a server say to a key that is missing, bad, or not enough."""
    match error:
        case KeyMissing():
            said = ""
        case KeyInvalid():
            said = ', error="invalid_token"'
        case ScopeMissing():
            said = f', error="insufficient_scope", scope="{error.extras.get("scope", "")}"'
        case _:
            return {}
    return {"WWW-Authenticate": f'Bearer realm="touchline"{said}'}


def problem(  # noqa: PLR0913, PLR0917  # the members of a problem
    request: web.BaseRequest,
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extras: Mapping[str, Any] | None = None,
) -> web.Response:
    """Write a problem."""
    members = dict(extras or {}) | {
        "type": f"urn:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": request.get(appkeys.REQUEST_ID),
    }
    # ids of matches are 64 bits wide, as orjson's integers are
    body = orjson.dumps(members, default=str)
    return web.Response(body=body, status=status, content_type=MEDIA_TYPE, headers=headers)
