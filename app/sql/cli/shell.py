"""The shell of `scripts/sql`: runs one statement, writes its rows to one stream and what went wrong to the other."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.sql.cli.export import ExportFormat, write
from app.sql.cli.session import ConsoleSession, run
from app.store.database import DatabaseError, Interrupted

OK, FAILED, INTERRUPTED = 0, 1, 130


class Shell:
    """A session with the form of its rows and where they go."""

    def __init__(self, session: ConsoleSession, form: ExportFormat, out: Path | None) -> None:
        self.session = session
        self._form = form
        self._out = out

    async def answer(self, sql: str) -> int:
        """Run it, write its rows, and say in one sentence what went wrong; an exit code."""
        try:
            await self._run(sql)
        except Interrupted:
            say("Interrupted.")
            return INTERRUPTED
        except BrokenPipeError:
            # the reader has seen enough, as `head` does; Python would complain when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (DatabaseError, ValueError, OSError) as error:
            say(_sentence(error))
            return FAILED
        return OK

    async def _run(self, sql: str) -> None:
        connection = await self.session.connection(sql)
        with _interrupting(self.session.interrupt):
            rows = await asyncio.to_thread(run, connection, sql)
            if rows is None:
                return
            n_rows = await asyncio.to_thread(write, rows, self._form, self._out)
        if self._out is not None:
            say(f"{n_rows} rows in {self._out}")


@contextmanager
def _interrupting(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C ends the statement, not the console."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _sentence(error: Exception) -> str:
    said = str(error).partition("\n")[0]
    if "LocalFileSystem" in said:
        return "Statements read and write no files here; --out FILE writes the rows of a query."
    return said


def say(text: str) -> None:
    """To the person, not into the rows."""
    sys.stderr.write(f"{text}\n")
