"""The ledger's PostgreSQL: connections that open at the first use, with the tables up to date."""

import asyncio
import contextlib
from typing import Literal

import asyncpg

from app.ledger.migrations import migrate

DatabaseState = Literal["connected", "unreachable", "not_configured"]
CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
CONNECTIONS = 3  # one to write, one to ask how things are, one for a read that takes its time
# everything a call may raise when the database is away or ill
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)


class LedgerDatabase:
    """A pool that need not be reachable yet."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def pool(self) -> asyncpg.Pool:
        """The connections; the first use brings the tables up to date. One of AWAY when that cannot be."""
        async with self._opening:
            if self._pool is None:
                pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=COMMAND_TIMEOUT_S,
                )
                async with pool.acquire() as connection:
                    await migrate(connection)
                self._pool = pool
            return self._pool

    async def state(self) -> DatabaseState:
        """Whether it answers now."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await (await self.pool()).fetchval("SELECT 1")
        except AWAY:
            return "unreachable"
        return "connected"

    async def close(self) -> None:
        """Let go of every connection."""
        if self._pool is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pool.close(), CONNECT_TIMEOUT_S)
