"""Lets a request in: who asks, whether they may, and whether they have asked too often."""

from aiohttp import hdrs, web

from app import appkeys
from app.auth.keys import Scope
from app.auth.rate_limit import WINDOW_S, Quota
from app.errors import KeyInvalid, KeyMissing, ScopeMissing

KEY_HEADER = "X-API-Key"
_BEARER = "bearer "


async def authorize(request: web.Request, scope: Scope) -> None:
    """Raise KeyMissing, KeyInvalid, ScopeMissing or RateLimited unless the request may go on."""
    rate = request.app[appkeys.RATE_LIMIT]
    caller = _caller(request, scope)
    if rate is not None:
        request[appkeys.QUOTA] = await rate.spend(caller)


def is_still_authorized(request: web.Request, scope: Scope) -> bool:
    """Whether the key of a request that lasts is good yet: it may have ended or been revoked meanwhile."""
    try:
        _caller(request, scope)
    except (KeyInvalid, KeyMissing, ScopeMissing):
        return False
    return True


def _caller(request: web.Request, scope: Scope) -> str:
    """Whose requests these are: the key's prefix, or the address while no keys are needed."""
    keyring = request.app[appkeys.KEYRING]
    if keyring.is_open:
        # not X-Forwarded-For: whoever asks can write it
        return request.remote or "unknown"
    key = keyring.find(_shown(request))
    request[appkeys.CALLER] = key.prefix
    if scope not in key.scopes:
        raise ScopeMissing(f"The API key {key.prefix} lacks the scope {scope}.", scope=str(scope))
    return key.prefix


def _shown(request: web.Request) -> str:
    given = request.headers.get(KEY_HEADER)
    if given is None:
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        given = authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else None
    if given is None:
        raise KeyMissing(f"Send an API key as {KEY_HEADER} or as Authorization: Bearer.")
    return given


def quota_headers(quota: Quota) -> dict[str, str]:
    """What is left, as draft-ietf-httpapi-ratelimit-headers writes it."""
    return {
        "RateLimit-Policy": f'"caller";q={quota.limit};w={WINDOW_S}',
        "RateLimit": f'"caller";r={quota.left};t={quota.reset_s}',
    }
