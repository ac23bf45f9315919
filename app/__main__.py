"""Starts the API: `python -m app`."""

import errno
import ipaddress
import os
import sys

from aiohttp import web
from pydantic import ValidationError

from app.main import create_app
from app.settings import Settings
from app.telemetry import set_up_logging

SHUTDOWN_TIMEOUT_S = 10.0  # what is being answered when a stop is asked for may take so long


def main() -> None:
    """Read the settings, build the service, serve until told to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors())
        sys.exit(f"Settings are wrong: {faults}")
    set_up_logging(settings.log_level, settings.log_format)
    if not (settings.app_allow_public or _is_loopback(settings.app_host)):
        sys.exit(
            f"Refusing to listen on {settings.app_host}: anyone who can reach the port may use the API, which has no "
            "keys yet. Set APP_ALLOW_PUBLIC=true if that is wanted, or APP_HOST=127.0.0.1."
        )
    try:
        _serve(settings)
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        sys.exit(f"Cannot listen on {settings.app_host}:{settings.app_port}: {os.strerror(error.errno)}.")


def _serve(settings: Settings) -> None:
    web.run_app(
        create_app(settings),
        host=settings.app_host,
        port=settings.app_port,
        print=None,
        access_log=None,  # the middleware writes a line that has the request's id
        shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        handler_cancellation=True,  # a caller who has gone wants no answer
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
