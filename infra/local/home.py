"""The folder that holds all state of one machine."""

import fcntl
import json
import os
import shlex
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app.artifacts.manifest import read_manifest
from infra.local.children import LocalError

FREE_BYTES = 2 * 2**30  # room that a build of all published results and the servers' logs need


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything lies; `root` is TOUCHLINE_HOME, absolute."""

    root: Path

    @property
    def artifacts(self) -> Path:
        """What the API serves."""
        return self.root / "artifacts"

    @property
    def data(self) -> Path:
        """What was fetched."""
        return self.root / "data"

    @property
    def registry(self) -> Path:
        """The MLflow store."""
        return self.root / "mlflow"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.root / "logs"

    def prepare(self) -> None:
        """Make the folder and see that there is room and nobody else."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.registry.mkdir(exist_ok=True)
        except OSError as error:
            raise LocalError(f"{self.root} cannot be written ({error.strerror}); set TOUCHLINE_HOME.") from error
        free = shutil.disk_usage(self.root).free
        if free < FREE_BYTES:
            raise LocalError(f"Only {free / 2**30:.1f} GB are free on the disk of {self.root}; 2 GB are needed.")
        self._lock()

    def _lock(self) -> None:
        # left open on purpose: the system releases the lock when this process ends, however it ends
        file = os.open(self.root / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(file, 20).decode() or "unknown"
            raise LocalError(f"Touchline already runs on {self.root} (pid {pid}).") from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())

    def relocate_registry(self) -> None:
        """Point the registry's addresses at this folder, which may have been moved or copied.

        MLflow keeps the absolute address of every model and run. Moved, no model would load; copied, the copy would
        load the models of the original.
        """
        database, artifacts = self.registry / "mlflow.db", self.registry / "artifacts"
        if not database.exists() or not artifacts.is_dir():
            return
        new = artifacts.resolve().as_uri()
        with closing(sqlite3.connect(database)) as connection, connection:
            columns = _address_columns(connection)
            if not columns:
                return
            locations = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
            for (old,) in locations:
                # other stores of the user's own stay as they are
                if old and old != new and old.startswith("file:") and old.endswith(f"/{self.registry.name}/artifacts"):
                    for table, column in columns:
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  # names of ours
                            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                        )

    def note_addresses(self, env: Mapping[str, str]) -> None:
        """Leave the servers' addresses, passwords in them, for the scripts that look into a running system."""
        path = self.root / "run.env"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in env.items()))

    def needs_build(self, data: Path | None) -> bool:
        """Whether there are no whole artifacts, or they are of other data than asked for."""
        if not _is_whole(self.artifacts) or not (self.registry / "mlflow.db").exists():
            return True
        return data is not None and self._built_from() != str(data)

    def note_build(self, data: Path | None) -> None:
        """Remember what the artifacts were built from."""
        self._note.write_text(json.dumps({"data": data and str(data)}))

    @property
    def _note(self) -> Path:
        return self.root / "built-from.json"

    def _built_from(self) -> str | None:
        try:
            found = json.loads(self._note.read_text())["data"]
        except (OSError, ValueError, KeyError):
            return None
        return str(found) if found else None


def _address_columns(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the columns of MLflow's database that hold addresses of files."""
    wanted = {
        ("experiments", "artifact_location"),
        ("runs", "artifact_uri"),
        ("logged_models", "artifact_location"),
        ("model_versions", "source"),
        ("model_versions", "storage_location"),
    }
    query = "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns"
    return [column for column in connection.execute(query).fetchall() if column in wanted]


def _is_whole(artifacts: Path) -> bool:
    """Whether the files are those of the manifest, by their sizes: a crash may come between two of them."""
    try:
        stamps = read_manifest(artifacts).files
        return all((artifacts / name).stat().st_size == stamp.size_bytes for name, stamp in stamps.items())
    except (OSError, ValueError):
        return False
