"""Private folders of one process under a shared cache; what a killed process left behind is removed."""

import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Self

_LOCK = ".lock"


class Workspace:
    """Folders that vanish with their owner; the lock on theirs tells whether the owner lives."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._remove_orphans(parent)
        self._home, self._lock = self._begin(parent)

    def make(self, name: str) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self._home, prefix=f"{name}-"))

    def redact(self, text: str) -> str:
        """A text without the names of these folders, which say nothing to people and are never twice the same."""
        return re.sub(rf"{re.escape(str(self._home))}/[^/\s]+/?", "", text)

    def remove(self) -> None:
        """Remove all of this owner's folders."""
        shutil.rmtree(self._home, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @staticmethod
    def _begin(parent: Path) -> tuple[Path, int]:
        while True:
            home = Path(tempfile.mkdtemp(dir=parent, prefix=f"{os.getpid()}-"))
            lock = os.open(home / _LOCK, os.O_CREAT | os.O_RDWR)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return home, lock
            os.close(lock)  # another process took the folder for an orphan before we had locked it

    @staticmethod
    def _remove_orphans(parent: Path) -> None:
        for lock_file in parent.glob(f"*/{_LOCK}"):
            try:
                lock = os.open(lock_file, os.O_RDWR)
            except OSError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock_file.parent, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(lock)
