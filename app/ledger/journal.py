"""The ledger's journal on disk: rows rest here from the answer until the database has them."""

import contextlib
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import structlog

from app.ledger.rows import LedgerRow

log = structlog.get_logger(__name__)


# files handed over at a time: each holds a descriptor while it is locked
FILES_AT_ONCE = 64
PORTION = 500  # rows in memory at a time, however long the database was away


class Journal:
    """Append-only files in one folder; the current one is locked by its writer, the others wait to be replayed.

    Its methods take microseconds and belong to one thread: a rotation beside an append could lose the row between.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._waiting_bytes = 0
        self._is_losing = False
        self.rows = 0  # in the current file
        self.rows_lost = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._file = self._begin()
        self._measure()

    @property
    def bytes_waiting(self) -> int:
        """Size of all files, as far as we have looked."""
        return self._size_bytes + self._waiting_bytes

    def _begin(self) -> tuple[Path, int]:
        while True:
            path = self._folder / f"{uuid.uuid4().hex}.jsonl"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                return path, file
            os.close(file)  # another process took the empty file away before we had locked it

    def append(self, row: LedgerRow) -> bool:
        """Write one row to the page cache (survives a kill of this process); False when it could not be kept."""
        try:
            self._write(row.line())
        except (OSError, TypeError) as error:
            self._lose(error)
            return False
        self._is_losing = False
        return True

    def _write(self, line: bytes) -> None:
        if self.bytes_waiting + len(line) > self._limit_bytes:
            raise OSError(errno.EDQUOT, "the journal is full; bring the database back")
        written = os.write(self._file, line)
        if written < len(line):
            # half a line would spoil the next one too
            os.ftruncate(self._file, self._size_bytes)
            raise OSError(errno.ENOSPC, "no room for a whole row; free disk space")
        self._size_bytes += written
        self.rows += 1

    def _lose(self, error: Exception) -> None:
        self.rows_lost += 1
        if not self._is_losing:  # one line an outage, not one a row
            log.error("ledger rows are being lost", folder=str(self._folder), error=str(error), lost=self.rows_lost)
        self._is_losing = True

    def rotate(self) -> None:
        """Let the rows written so far be replayed."""
        if self._size_bytes == 0:
            return
        old = self._file
        self._path, self._file = self._begin()
        os.close(old)
        self._size_bytes = self.rows = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[list[Path]]:
        """Some of the files that no living writer holds, oldest first; locked for the time of the block."""
        others = self._measure()
        with contextlib.ExitStack() as locks:
            yield [path for path in others[:FILES_AT_ONCE] if _lock(path, locks)]
            self._measure()

    def _measure(self) -> list[Path]:
        others = self._others()
        self._waiting_bytes = sum(size for _written, _path, size in others)
        return [path for _written, path, _size in others]

    def _others(self) -> list[tuple[int, Path, int]]:
        found = []
        for path in set(self._folder.glob("*.jsonl")) - {self._path}:
            with contextlib.suppress(FileNotFoundError):  # replayed by another process just now
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        return sorted(found)

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


def read_rows(path: Path) -> Iterator[list[LedgerRow]]:
    """The rows of a file, a portion at a time; a line cut short by a crash is reported and left out."""
    with path.open("rb") as lines:
        while portion := list(islice(lines, PORTION)):
            yield [row for line in portion if (row := _parsed(line, path)) is not None]


def _parsed(line: bytes, path: Path) -> LedgerRow | None:
    try:
        return LedgerRow.parse(line)
    except ValueError:
        log.warning("a damaged journal line was left out", file=path.name, bytes=len(line))
        return None
