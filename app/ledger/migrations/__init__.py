"""Apply the ledger's tables, numbered plain SQL, in order and once.

Alone because the folder of SQL files is the package that it reads.
"""

from importlib.resources import files

import asyncpg

# read at import, not on the event loop
SCRIPTS = {file.name: file.read_text() for file in files(__name__).iterdir() if file.name.endswith(".sql")}
LOCK = 7_403_117  # any number, the same in every process: one migrates, the others wait


async def migrate(connection: asyncpg.Connection) -> None:
    """Bring the database up to date."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS ledger_migrations (name text PRIMARY KEY, at timestamptz)")
        done = {row["name"] for row in await connection.fetch("SELECT name FROM ledger_migrations")}
        for script in sorted(SCRIPTS.keys() - done):
            await connection.execute(SCRIPTS[script])
            await connection.execute("INSERT INTO ledger_migrations VALUES ($1, now())", script)
