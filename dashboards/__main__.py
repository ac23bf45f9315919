"""Serves the match page."""

import asyncio
import sys

from pydantic import ValidationError

from app.settings import Settings
from dashboards.login import PageExposed
from dashboards.server import PortInUse, serve


def main() -> int:
    """Serve until a signal comes."""
    try:
        asyncio.run(serve(Settings()))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors())
        sys.stderr.write(f"Settings are wrong: {faults}\n")
        return 1
    except (PageExposed, PortInUse) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
