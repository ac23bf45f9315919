"""Who may read the match page: whoever reaches it on loopback, beyond it whoever knows its password.

It stands alone because it is the page's one way in, and all that knows how Panel asks for a password.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from tornado.web import RequestHandler

from app.settings import Settings, is_loopback

Pattern = tuple[str, type[RequestHandler], dict[str, Any]]


class PageExposed(Exception):
    """The page would show everything to everybody who can reach the port."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"Refusing to listen on {host}: the match page has no password, so anyone who can reach the port could "
            "read all that its API key may. Set DASHBOARD_PASSWORD, listen on DASHBOARD_HOST=127.0.0.1, or, if "
            "everyone may read it, say so with DASHBOARD_ALLOW_PUBLIC=true."
        )


def check_exposure(settings: Settings) -> None:
    """Raise PageExposed when the page would listen beyond this machine without a password."""
    if not (settings.dashboard_password or settings.dashboard_allow_public or is_loopback(settings.dashboard_host)):
        raise PageExposed(settings.dashboard_host)


def login_options(settings: Settings) -> dict[str, str]:
    """Return what Panel's server needs to ask for the password; nothing when there is none."""
    if settings.dashboard_password is None:
        return {}
    password = settings.dashboard_password.get_secret_value()
    # of the password alone, so that every replica takes the cookie of every other, and a new password ends all of them
    secret = hashlib.scrypt(password.encode(), salt=b"touchline match page", n=2**14, r=8, p=1).hex()
    return {"basic_auth": password, "cookie_secret": secret}


def require_login(patterns: Iterable[Pattern], settings: Settings) -> list[Pattern]:
    """Return handlers that answer 401 to a reader who has not logged in; Panel guards only its own."""
    if settings.dashboard_password is None:
        return list(patterns)
    return [(path, type(f"Guarded{handler.__name__}", (_Guard, handler), {}), kw) for path, handler, kw in patterns]


class _Guard(RequestHandler):
    def prepare(self) -> None:
        """Refuse a request without the cookie of the login page."""
        if self.get_signed_cookie("user") is None:
            self.set_status(401)
            self.finish("Log in to the match page first.")
