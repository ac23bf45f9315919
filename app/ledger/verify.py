"""Walks a chain from its first row and finds the first that was edited, is missing or stands in another's place."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import asyncpg

from app.ledger.chain import GENESIS, Chain, ChainHead, next_hash

PORTION = 1000  # rows in memory at a time


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """How far a chain holds: its rows, its last good link, and what is wrong after it (None: nothing)."""

    table: str
    rows: int
    head: ChainHead
    fault: str | None = None


@dataclass(slots=True)
class _Walk:
    chain: Chain
    expected: dict[int, bytes]
    head: ChainHead = GENESIS
    rows: int = 0
    fault: str | None = None

    def step(self, row: asyncpg.Record) -> bool:
        """Whether the next row holds."""
        self.fault = self._fault_of(row)
        if self.fault is None:
            self.head = ChainHead(row["seq"], row["row_hash"])
            self.rows += 1
        return self.fault is None

    def _fault_of(self, row: asyncpg.Record) -> str | None:
        name = f"row {row['seq']} ({row['id']})"
        link = next_hash(self.head, self.chain.encode([row[column] for column in self.chain.columns]))
        if row["seq"] != link.seq:
            return f"row {link.seq} is missing: {name} comes after row {self.head.seq}"
        if row["prev_hash"] != self.head.row_hash:
            return f"{name} does not follow row {self.head.seq}: a row was replaced, moved or taken out"
        if row["row_hash"] != link.row_hash:
            return f"{name} was edited: its contents do not give its hash"
        if self.expected.get(link.seq, link.row_hash) != link.row_hash:
            return f"{name} is not the one expected: the chain was rewritten before it or there"
        return None


async def verify(connection: asyncpg.Connection, chain: Chain, expected: Sequence[ChainHead] = ()) -> ChainVerdict:
    """Check every row, and that the links `expected` from an earlier look are still there."""
    walk = _Walk(chain, {link.seq: link.row_hash for link in expected})
    # closed here and now: left to the event loop, its transaction would end while the next chain is being read
    async with aclosing(rows_of(connection, chain)) as rows:
        async for row in rows:
            if not walk.step(row):
                break
    cut = [link.seq for link in expected if link.seq > walk.head.seq]
    if walk.fault is None and cut:
        walk.fault = f"row {min(cut)} was there and is not: the end of the chain was cut off after row {walk.head.seq}"
    return ChainVerdict(chain.table, walk.rows, walk.head, walk.fault)


async def rows_of(
    connection: asyncpg.Connection, chain: Chain, last: int | None = None
) -> AsyncGenerator[asyncpg.Record]:
    """The rows in the order of the chain, or its `last` ones, as they were at one moment; few in memory at a time."""
    where = "" if last is None else f"WHERE seq > (SELECT max(seq) FROM {chain.table}) - {last:d}"  # noqa: S608
    query = f"SELECT * FROM {chain.table} {where} ORDER BY seq"  # noqa: S608  names of our own
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(query, prefetch=PORTION):
            yield row
