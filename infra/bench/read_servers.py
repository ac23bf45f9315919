"""The floor of `scripts/bench read`: a bare aiohttp service that answers everything with the bytes of one file.

python -m infra.bench.read_servers PORT FILE
"""

import sys
from pathlib import Path

from aiohttp import web


def bare(body: bytes) -> web.Application:
    """A service without middleware, log or thought."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    return app


def main() -> None:
    """Serve until told to stop."""
    port, file = sys.argv[1:]
    web.run_app(bare(Path(file).read_bytes()), host="127.0.0.1", port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
