"""Authorize a request: whose it is, whether its key has the scope, and whether the caller has requests left."""

from aiohttp import hdrs, web

from app import appkeys
from app.auth.keys import Scope
from app.auth.rate_limit import WINDOW_S, Quota, client_network
from app.errors import KeyInvalid, KeyMissing, ScopeMissing

KEY_HEADER = "X-API-Key"
_BEARER = "bearer "


async def authorize(request: web.Request, scope: Scope) -> None:
    """Raise KeyMissing, KeyInvalid, ScopeMissing or RateLimited unless the request may go on."""
    request[appkeys.IS_GUARDED] = True
    rate = request.app[appkeys.RATE_LIMIT]
    try:
        caller = _identify_caller(request, scope)
    except KeyInvalid:
        await request.app[appkeys.KEYRING].reread()  # it was made a moment ago, perhaps
        caller = _identify_caller(request, scope)
    request[appkeys.CLIENT] = caller
    if rate is not None:
        request[appkeys.QUOTA] = await rate.acquire(caller)


def is_still_authorized(request: web.Request, scope: Scope) -> bool:
    """Whether the key of a request that lasts is good yet: it may have ended or been revoked meanwhile."""
    try:
        _identify_caller(request, scope)
    except (KeyInvalid, KeyMissing, ScopeMissing):
        return False
    return True


def _identify_caller(request: web.Request, scope: Scope) -> str:
    """Return whose requests these are: the key's prefix, or the address while no keys are needed."""
    keyring = request.app[appkeys.KEYRING]
    if keyring.is_open:
        # not X-Forwarded-For: whoever asks can write it
        return client_network(request.remote or "unknown")
    key = keyring.find(_read_key(request))
    request[appkeys.CALLER] = key.prefix
    if scope not in key.scopes:
        raise ScopeMissing(f"The API key {key.prefix} lacks the scope {scope}.", scope=str(scope))
    return key.prefix


def _read_key(request: web.Request) -> str:
    text = request.headers.get(KEY_HEADER)
    if text is None:
        authorization = request.headers.get(hdrs.AUTHORIZATION, "")
        text = authorization[len(_BEARER) :].strip() if authorization.lower().startswith(_BEARER) else None
    if text is None:
        raise KeyMissing(f"Send an API key as {KEY_HEADER} or as Authorization: Bearer.")
    return text


def quota_headers(quota: Quota) -> dict[str, str]:
    """What is left, as draft-ietf-httpapi-ratelimit-headers writes it."""
    return {
        "RateLimit-Policy": f'"caller";q={quota.limit};w={WINDOW_S}',
        "RateLimit": f'"caller";r={quota.left};t={quota.reset_s}',
    }
