"""The ledger's journal on disk: rows rest here from the answer until the database has them."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import structlog

from app.ledger.row import LedgerRow

log = structlog.get_logger(__name__)


class Journal:
    """Append-only files in one folder; the current one is locked by its writer, the others wait to be replayed."""

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._waiting_bytes = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._file = self._begin()

    def _begin(self) -> tuple[Path, int]:
        path = self._folder / f"{uuid.uuid4().hex}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX)
        return path, file

    def append(self, row: LedgerRow) -> bool:
        """Write one row to the page cache (survives a kill of this process); False when it could not be kept."""
        if self._size_bytes + self._waiting_bytes > self._limit_bytes:
            log.error("ledger row lost: the journal is full; bring the database back", folder=str(self._folder))
            return False
        try:
            self._size_bytes += os.write(self._file, row.line())
        except OSError as error:
            log.error("ledger row lost: the journal cannot be written; free disk space", error=str(error))
            return False
        return True

    def rotate(self) -> None:
        """Let the rows written so far be replayed."""
        if self._size_bytes == 0:
            return
        old = self._file
        self._path, self._file = self._begin()
        os.close(old)
        self._size_bytes = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[list[Path]]:
        """The files that no living writer holds, oldest first; locked for the time of the block."""
        with contextlib.ExitStack() as locks:
            files = [path for path in self._others() if _lock(path, locks)]
            self._waiting_bytes = sum(path.stat().st_size for path in files)
            yield files

    def _others(self) -> list[Path]:
        return sorted(set(self._folder.glob("*.jsonl")) - {self._path}, key=lambda path: path.stat().st_mtime_ns)

    def close(self) -> None:
        """Release the current file; an empty one is removed."""
        os.close(self._file)
        if self._size_bytes == 0:
            self._path.unlink(missing_ok=True)


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    with contextlib.suppress(FileNotFoundError, BlockingIOError):
        file = os.open(path, os.O_RDONLY)
        locks.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.exists()
    return False


def read_rows(path: Path) -> list[LedgerRow]:
    """The rows of a file; a line cut short by a crash is reported and left out."""
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(LedgerRow.parse(line))
        except ValueError:
            log.warning("a damaged journal line was left out", file=path.name, bytes=len(line))
    return rows
