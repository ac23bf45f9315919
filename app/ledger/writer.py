"""Appends rows to a chained table: each once, in one order whoever writes, and none held up by one that is refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from app.ledger.chain import GENESIS, UNFIT, Chain, ChainHead, next_hash

LOCK = 7_403_117  # the ledger's part of the space of advisory locks; the second number says what of it
# these are the row's own fault: it would be refused for ever
_OWN_FAULT = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A row to be written: its values, `id` first, and their bytes for the hash."""

    values: tuple[Any, ...]
    encoded: bytes


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that the table cannot hold, and why."""

    values: tuple[Any, ...]
    reason: str

    @classmethod
    def from_error(cls, values: tuple[Any, ...], error: Exception) -> "RejectedRow":
        """A row and the error it caused."""
        return cls(values, f"{type(error).__name__}: {error}")


def encode_rows(chain: Chain, rows: Iterable[tuple[Any, ...]]) -> tuple[list[LedgerEntry], list[RejectedRow]]:
    """The rows ready to be written, and those that fit no column."""
    found, refused = [], []
    for values in rows:
        try:
            found.append(LedgerEntry(values, chain.encode(values)))
        except UNFIT as error:
            refused.append(RejectedRow.from_error(values, error))
    return found, refused


async def append_rows(pool: asyncpg.Pool, chain: Chain, rows: Sequence[LedgerEntry]) -> list[RejectedRow]:
    """Add the rows that are not there yet; those that PostgreSQL refuses are found by halving and returned."""
    if not rows:
        return []
    try:
        await _append(pool, chain, rows)
    except asyncpg.UniqueViolationError:
        raise  # somebody wrote without our lock: no row's fault, and well the next time
    except _OWN_FAULT as error:
        if len(rows) == 1:
            return [RejectedRow.from_error(rows[0].values, error)]
        middle = len(rows) // 2
        return await append_rows(pool, chain, rows[:middle]) + await append_rows(pool, chain, rows[middle:])
    return []


async def _append(pool: asyncpg.Pool, chain: Chain, rows: Sequence[LedgerEntry]) -> None:
    by_id = {row.values[0]: row for row in rows}
    async with pool.acquire() as connection, connection.transaction():
        # one writer at a time, of all processes: what is read below stays true until the commit
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, chain.number)
        known = await connection.fetch(f"SELECT id FROM {chain.table} WHERE id = ANY($1)", list(by_id))  # noqa: S608
        for (row_id,) in known:
            del by_id[row_id]
        link = await fetch_head(connection, chain)
        records = []
        for row in by_id.values():
            before, link = link, next_hash(link, row.encoded)
            records.append((*row.values, link.seq, before.row_hash, link.row_hash))
        columns = (*chain.columns, "seq", "prev_hash", "row_hash")
        await connection.copy_records_to_table(chain.table, records=records, columns=columns)


async def fetch_head(connection: asyncpg.Connection, chain: Chain) -> ChainHead:
    """The last link of a chain; GENESIS while it has no rows."""
    row = await connection.fetchrow(f"SELECT seq, row_hash FROM {chain.table} ORDER BY seq DESC LIMIT 1")  # noqa: S608
    return ChainHead(*row) if row else GENESIS
