"""The operator's own connection to a snapshot: read-only, with room for temporary tables."""

from pathlib import Path

from app.sql.databases import Databases
from app.store.database import Connection, Relation, open_sealed_connection
from app.store.snapshot import Snapshot

_KEYWORDS = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
_NAMES = "SELECT DISTINCT column_name FROM duckdb_columns() WHERE database_name = 'snapshot'"
VIEWS = ("predictions", "odds", "cards", "features", "region_roi")


class ConsoleSession:
    """Runs statements one after the other; nothing that is said here can change the artifacts."""

    def __init__(self, snapshot: Snapshot, databases: Databases, *, memory: str, threads: int) -> None:
        self._snapshot = snapshot
        self._databases = databases
        self._memory = memory
        self._threads = threads
        self._open: dict[str, Path] = {}
        self._connection: Connection | None = None

    async def connection(self, sql: str) -> Connection:
        """A connection that has what the SQL names; the first that names the features opens anew."""
        wanted = self._open | await self._databases.get_files(self._snapshot, sql)
        if self._connection is None or wanted != self._open:
            self.close()
            self._connection = open_sealed_connection(wanted, threads=self._threads, memory=self._memory)
            self._open = wanted
        return self._connection

    def interrupt(self) -> None:
        """End the running statement; from another thread."""
        if self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    async def complete_words(self) -> list[str]:
        """What a prompt may complete: tables, their columns, features, keywords."""
        cursor = await self.connection("")
        found = [name for sql in (_NAMES, _KEYWORDS) for (name,) in cursor.execute(sql).fetchall()]
        return sorted({*VIEWS, *self._snapshot.features.names, *found})


def run(connection: Connection, sql: str) -> Relation | None:
    """Run every statement; the rows of the last, if it gives any. ValueError when there is none."""
    statements = connection.extract_statements(sql)
    if not statements:
        raise ValueError("There is no statement.")
    for statement in statements[:-1]:
        connection.execute(statement)
    return connection.sql(statements[-1])
