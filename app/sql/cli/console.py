"""`scripts/sql`: SQL of the operator over the current artifacts, at a prompt or once."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.settings import Settings
from app.sql.cli.export import ExportFormat
from app.sql.cli.session import ConsoleSession
from app.sql.cli.shell import INTERRUPTED, OK, Shell, say
from app.sql.databases import Databases
from app.store.database import QueryLimiter
from app.store.snapshot import Snapshot
from app.store.snapshots import open_snapshots
from app.telemetry.logging import set_up_logging

MISUSED, NO_ARTIFACTS = 2, 3
_SUFFIXES = {".csv": ExportFormat.CSV, ".json": ExportFormat.JSON, ".parquet": ExportFormat.PARQUET}


class Misuse(Exception):
    """The command line asks for what cannot be; the message says what."""


async def work(settings: Settings, sql: str | None, form: ExportFormat, out: Path | None) -> int:
    """Open the artifacts and answer; an exit code."""
    async with open_snapshots(settings, QueryLimiter()) as snapshots:
        look = await snapshots.refresh()
        if snapshots.current is None:
            say(f"There are no artifacts to ask: {look.fault}. scripts/run builds some; ARTIFACTS_URI names others.")
            return NO_ARTIFACTS
        async with snapshots.reading() as snapshot, _session(snapshot, settings) as session:
            shell = Shell(session, form, out)
            if sql is not None:
                return await shell.answer(sql)
            # only a conversation needs a terminal's library
            from app.sql.cli.prompt import converse  # noqa: PLC0415

            await converse(shell, snapshot, settings.touchline_home / "sql-history")
            return OK


@asynccontextmanager
async def _session(snapshot: Snapshot, settings: Settings) -> AsyncIterator[ConsoleSession]:
    databases = Databases(settings.touchline_home / "cache" / "sql")
    session = ConsoleSession(snapshot, databases, memory=settings.query_memory, threads=settings.query_threads)
    try:
        yield session
    finally:
        session.close()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/sql", description=__doc__)
    parser.add_argument("-c", dest="sql", metavar="SQL", help="run this and end; else there is a prompt")
    parser.add_argument(
        "--format", choices=list(ExportFormat), type=ExportFormat, help="default: by --out's name, else table"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the rows there")
    return parser.parse_args(argv)


def _form(form: ExportFormat | None, out: Path | None, *, is_once: bool) -> ExportFormat:
    if out is None:
        if form is ExportFormat.PARQUET and (not is_once or sys.stdout.isatty()):
            raise Misuse("Parquet is not for terminals: say --out FILE.")
        return form or ExportFormat.TABLE
    chosen = form or _SUFFIXES.get(out.suffix)
    if chosen is None or chosen is ExportFormat.TABLE:
        raise Misuse(f"{out} can be written as --format csv, json or parquet.")
    return chosen


def _checked(out: Path | None, settings: Settings) -> None:
    """Nothing is written among the artifacts or the service's own files."""
    if out is None:
        return
    kept = [settings.touchline_home / "cache", Path(settings.artifacts_uri)]
    if any(out.resolve().is_relative_to(folder.resolve()) for folder in kept):
        raise Misuse(f"{out} lies among the artifacts, which are only read.")
    if not out.parent.is_dir():
        raise Misuse(f"{out.parent} is no folder.")


def main(argv: list[str] | None = None) -> int:
    """Read the command line and work; an exit code."""
    arguments = _arguments(argv)
    settings = Settings()
    set_up_logging("ERROR", "console")
    try:
        form = _form(arguments.format, arguments.out, is_once=arguments.sql is not None)
        _checked(arguments.out, settings)
        return asyncio.run(work(settings, arguments.sql, form, arguments.out))
    except Misuse as misuse:
        say(str(misuse))
        return MISUSED
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
