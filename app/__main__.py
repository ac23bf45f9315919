"""Starts the API: `python -m app`."""

import asyncio
import errno
import os
import sys

from pydantic import ValidationError

from app.api_pool import ApiPool, check_port
from app.auth.keyring import load_keys
from app.settings import Settings
from app.telemetry.logging import set_up_logging


def main() -> None:
    """Read the settings, build the service, serve until told to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors())
        sys.exit(f"Settings are wrong: {faults}")
    set_up_logging(settings.log_level, settings.log_format)
    _refuse_public_without_keys(settings)
    if settings.app_processes > 1:
        check_port(settings.http)
        ApiPool(settings).run()
        return
    # late: a supervisor of several processes needs none of it
    from app.main import create_app  # noqa: PLC0415
    from app.server import serve  # noqa: PLC0415

    try:
        asyncio.run(serve(create_app(settings)))
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        sys.exit(f"Cannot listen on {settings.app_host}:{settings.app_port}: {os.strerror(error.errno)}.")


def _refuse_public_without_keys(settings: Settings) -> None:
    try:
        has_keys = bool(load_keys(settings.keys))
    except (OSError, ValueError) as error:
        sys.exit(f"The API keys cannot be read: {error}")
    if not (has_keys or settings.http.allow_public or settings.http.is_loopback):
        sys.exit(
            f"Refusing to listen on {settings.app_host}: there are no API keys, so anyone who can reach the port could "
            "use the API. Make a key with scripts/keys create, listen on APP_HOST=127.0.0.1, or, if everyone may use "
            "it, say so with APP_ALLOW_PUBLIC=true."
        )


if __name__ == "__main__":
    main()
