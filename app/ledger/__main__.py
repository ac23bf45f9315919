"""`python -m app.ledger verify | tail | export`: looks at the ledger from outside the service."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson

from app.ledger.chain import CHAINS, PREDICTIONS, SHADOWS, Chain, ChainHead
from app.ledger.database import AWAY, CONNECT_TIMEOUT_S
from app.ledger.verify import rows_of, verify
from app.settings import Settings

BROKEN, UNREACHABLE = 1, 2  # exit codes
BY_NAME = {"predictions": PREDICTIONS, "shadows": SHADOWS}


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
    try:
        yield connection
    finally:
        await connection.close()


async def _verify(url: str, expected: list[ChainHead]) -> int:
    """Check both chains; `expected` links are of the predictions."""
    code = 0
    async with _connected(url) as connection:
        for chain in CHAINS:
            verdict = await verify(connection, chain, expected if chain is PREDICTIONS else ())
            _say(f"{verdict.table}: {verdict.rows} rows hold, head {verdict.head}")
            if verdict.fault is not None:
                _say(f"{verdict.table}: BROKEN, {verdict.fault}")
                code = BROKEN
    return code


async def _print_rows(url: str, chain: Chain, last: int | None) -> int:
    """Print rows as lines of JSON."""
    async with _connected(url) as connection:
        async for row in rows_of(connection, chain, last):
            _say(orjson.dumps(dict(row), default=_plain).decode())
    return 0


def _plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/ledger", description="Look at the prediction ledger.")
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("verify", help="find any edited, missing or reordered row; 1 when there is one")
    check.add_argument(
        "--expect", type=ChainHead.parse, action="append", default=[], metavar="SEQ:HASH", help="a head noted earlier"
    )
    tail = actions.add_parser("tail", help="the newest rows as lines of JSON")
    tail.add_argument("-n", type=int, default=10, help="how many (default: %(default)s)")
    export = actions.add_parser("export", help="all rows as lines of JSON, in the order of the chain")
    for action in (tail, export):
        action.add_argument("--table", choices=BY_NAME, default="predictions", help="default: %(default)s")
    return parser.parse_args()


def main() -> int:
    """Read the command line; the exit code."""
    chosen, url = _arguments(), Settings().database_url
    if url is None:
        sys.stderr.write("No database is configured: DATABASE_URL is not set, and scripts/run is not running.\n")
        return UNREACHABLE
    try:
        if chosen.action == "verify":
            return asyncio.run(_verify(url.get_secret_value(), chosen.expect))
        return asyncio.run(_print_rows(url.get_secret_value(), BY_NAME[chosen.table], getattr(chosen, "n", None)))
    except AWAY as error:
        sys.stderr.write(f"The ledger's database cannot be read: {error}\n")
        return UNREACHABLE


if __name__ == "__main__":
    sys.exit(main())
