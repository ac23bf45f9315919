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

    A disk that is full or read-only makes `append` fail, and nothing else: `fault` says why, and each tries anew.
    Its methods take microseconds and belong to one thread: a rotation beside an append could lose the row between.
    """

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._waiting_bytes = 0
        self._unreadable: set[str] = set()  # files, each logged once
        self.rows = 0  # in the current file
        self.fault: str | None = None  # why the last row could not be kept here
        self._path: Path | None = None
        self._file: int | None = None
        try:
            self._open_file()
            self._measure()
        except OSError as error:
            self._note(error)

    @property
    def bytes_waiting(self) -> int:
        """Size of all files, as far as we have looked."""
        return self._size_bytes + self._waiting_bytes

    def append(self, row: LedgerRow) -> bool:
        """Write one row to the page cache (survives a kill of this process); False when it could not be kept."""
        try:
            self._write(row.line())
        except OSError as error:
            self._note(error)
            return False
        except TypeError:
            # the row's own fault: it holds what JSON cannot
            return False
        self.fault = None
        return True

    def rotate(self) -> None:
        """Let the rows written so far be replayed; the next row opens a new file."""
        if self._file is None or self._size_bytes == 0:
            return
        os.close(self._file)
        self._path = self._file = None
        self._size_bytes = self.rows = 0

    @contextlib.contextmanager
    def closed_files(self) -> Iterator[list[Path]]:
        """Some of the files that no living writer holds, oldest first; locked for the time of the block.

        One that cannot be read is left out and logged, and holds up no other.
        """
        others = self._measure()
        with contextlib.ExitStack() as locks:
            readable = (path for path in others if path.name not in self._unreadable)
            yield [path for path in islice(readable, FILES_AT_ONCE) if self._lock(path, locks)]
            self._measure()

    def skip(self, path: Path, error: Exception) -> None:
        """Leave a file alone that cannot be read or removed, until this process starts anew."""
        self._unreadable.add(path.name)
        log.error("ledger.journal_file_unreadable", file=str(path), error=str(error))

    def close(self) -> None:
        """Release the current file; an empty one is removed."""
        if self._file is None or self._path is None:
            return
        os.close(self._file)
        if self._size_bytes == 0:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._path = self._file = None

    def _open_file(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{uuid.uuid4().hex}.jsonl"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_nlink:
                self._path, self._file = path, file
                return file
            os.close(file)  # another process took the empty file away before we had locked it

    def _write(self, line: bytes) -> None:
        if self.bytes_waiting + len(line) > self._limit_bytes:
            raise OSError(errno.EDQUOT, "the journal is full; bring the database back")
        file = self._open_file() if self._file is None else self._file
        written = os.write(file, line)
        if written < len(line):
            # half a line would spoil the next one too
            os.ftruncate(file, self._size_bytes)
            raise OSError(errno.ENOSPC, "no room for a whole row; free disk space")
        self._size_bytes += written
        self.rows += 1

    def _note(self, error: OSError) -> None:
        if self.fault is None:  # one line an outage, not one a row
            log.error("ledger.journal_failed", folder=str(self._folder), error=str(error))
        self.fault = error.strerror or str(error)

    def _lock(self, path: Path, locks: contextlib.ExitStack) -> bool:
        try:
            file = os.open(path, os.O_RDONLY)
            locks.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False  # replayed by another process, or still written to
        except OSError as error:
            self.skip(path, error)
            return False
        return path.exists()

    def _measure(self) -> list[Path]:
        found = []
        for path in set(self._folder.glob("*.jsonl")) - {self._path}:
            with contextlib.suppress(FileNotFoundError):  # replayed by another process just now
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        self._waiting_bytes = sum(size for _, _, size in found)
        return [path for _, path, _ in sorted(found)]


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
