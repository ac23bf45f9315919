"""Runs all of Touchline on one machine: `python -m infra.local [--data DIR]`."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from app import __version__
from app.auth import keys as auth_keys
from app.auth.keyring import load_keys
from app.auth.keys import Scope, hash_key
from app.settings import Settings
from infra.local.children import Command, LocalError, run_once
from infra.local.home import Home
from infra.local.ports import is_taken
from infra.local.postgres import Postgres
from infra.local.redis import Redis
from infra.local.secret import secret
from infra.local.services import Service, postgres_service, python_service, redis_service, unready_parts
from infra.local.supervisor import WATCH_S, Supervisor

BUILD_TIMEOUT_S = 3600.0
PAGE_KEY_PREFIX = "matchpage"
PAGE_KEY_SCOPES = frozenset({Scope.READ, Scope.PREDICT, Scope.MONITOR})  # the last for the drift report


class Stop(BaseException):
    """Somebody asked us to stop."""


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)  # noqa: T201


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser("scripts/run", description="Run all of Touchline on this machine.")
    parser.add_argument("--data", type=Path, help="folder of football-data.co.uk files (default: a simulated sample)")
    parser.add_argument("--rebuild", action="store_true", help="build artifacts and models even if there are some")
    return parser.parse_args()


def ensure_page_key(settings: Settings, home: Home) -> str | None:
    """Return the match page's own API key, entered among the others.

    None while there are no others, or the environment gives one.
    """
    here = settings.model_copy(update={"touchline_home": home.root})
    try:
        if settings.api_key is not None or not load_keys(here.keys):
            return None
        text = f"{PAGE_KEY_PREFIX}.{secret(home.root / 'page-key')}"
        with auth_keys.edit_keys(here.keys.file) as keys:
            others = [key for key in keys if key.prefix != PAGE_KEY_PREFIX]
            mine = next((key for key in keys if key.prefix == PAGE_KEY_PREFIX and key.matches(text)), None)
            keys[:] = [*others, mine or hash_key(text, "the match page", PAGE_KEY_SCOPES)]
    except (OSError, ValueError) as error:
        raise LocalError(f"The API keys cannot be read: {error}") from error
    return text


class Machine:
    """The services of this machine and what they need to know of each other."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self.settings = settings
        self.home = home
        self.supervisor = Supervisor()
        self.env = {"TOUCHLINE_HOME": str(home.root), "API_URL": f"http://127.0.0.1:{settings.app_port}"}
        self.given = settings.model_fields_set

    def check_ports(self) -> None:
        """Raise LocalError unless every port is free and no two are the same; nothing is built or started before."""
        settings, names = self.settings, dict[int, str]()
        addresses = {
            "APP_PORT": (settings.app_host, settings.app_port),
            "DASHBOARD_PORT": (settings.dashboard_host, settings.dashboard_port),
            "WORKER_METRICS_PORT": (settings.worker_metrics_host, settings.worker_metrics_port),
        }
        for name, (host, port) in addresses.items():
            if not port:
                continue  # the metrics are off, or the system chooses a port
            if port in names:
                raise LocalError(f"{names[port]} and {name} are both {port}; set one of them to another.")
            names[port] = name
            if is_taken(host, port):
                raise LocalError(f"Port {port} is in use; stop what uses it or set {name} to another.")

    def start_servers(self) -> None:
        """Redis and PostgreSQL, unless the environment names others."""
        servers = [*self._redis(), *self._postgres()]
        self.supervisor.start(*servers)
        for server in servers:
            self._tell_ready(server)

    def _redis(self) -> list[Service]:
        if "redis_url" in self.given:
            return []
        redis = Redis(self.home.root / "redis")
        self.env["REDIS_URL"] = redis.url
        return [redis_service(redis)]

    def _postgres(self) -> list[Service]:
        if "database_url" in self.given:
            return []
        postgres = Postgres(self.home.root / "postgres")
        postgres.prepare()
        self.env["DATABASE_URL"] = postgres.url
        return [postgres_service(postgres)]

    def _tell_ready(self, service: Service) -> None:
        took_s = self.supervisor.wait_ready(service)
        say(f"  ✓ {service.name:<12} {service.address:<28} {took_s:5.1f} s")

    def build(self, data: Path | None, *, rebuild: bool) -> None:
        """Artifacts and a champion, when there are none."""
        if "mlflow_tracking_uri" not in self.given:
            self.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.home.registry / 'mlflow.db'}"
        if "artifacts_uri" in self.given:
            return
        self.env["ARTIFACTS_URI"] = str(self.home.artifacts)
        if not rebuild and not self.home.needs_build(data):
            return
        say(f"  ▸ building artifacts and models from {data or 'a simulated sample'}")
        options = [] if data is None else ["--data", str(data)]
        argv = [sys.executable, "-m", "worker.pipeline.build", "--out", str(self.home.artifacts), *options]
        # threads that wait by spinning would take the cores from the processes beside them
        env = {"OMP_WAIT_POLICY": "PASSIVE", **self.env}
        run_once(Command("The build", argv, env=env), timeout_s=BUILD_TIMEOUT_S)
        self.home.note_build(data)

    def start_touchline(self) -> None:
        """API, workers and match page."""
        api_url = self.env["API_URL"]
        page_url = f"http://127.0.0.1:{self.settings.dashboard_port}"
        workers = python_service("worker pool", "worker", self.home, self.env)
        api = python_service("API", "app", self.home, self.env, f"{api_url}/livez")
        key = ensure_page_key(self.settings, self.home)
        page_env = {**self.env, **({"API_KEY": key} if key else {})}
        page = python_service("match page", "dashboards", self.home, page_env, f"{page_url}/")
        # in the order of their dependence: the page is stopped first, the workers last
        self.supervisor.start(workers, api, page)
        self._tell_ready(api)
        self._tell_ready(page)
        self._wait_for_workers(api_url)

    def _wait_for_workers(self, api_url: str) -> None:
        began = time.monotonic()
        while (missing := unready_parts(api_url)) and time.monotonic() - began < 90.0:
            self.supervisor.watch()
            time.sleep(WATCH_S)
        count = self.settings.n_worker_processes
        state = missing and f"not ready yet: {missing}; see {self.home.logs}"
        say(f"  {'…' if missing else '✓'} {'worker pool':<12} {state or f'{count} process(es), models loaded'}")

    def watch(self) -> None:
        """Keep everything alive until told to stop."""
        while True:
            self.supervisor.watch()
            time.sleep(WATCH_S)


def run(options: argparse.Namespace) -> None:
    """Start everything, in order, and keep it alive."""
    settings = Settings()
    home = Home(settings.touchline_home.resolve())
    data = options.data and options.data.resolve()
    if data is not None and not data.is_dir():
        raise LocalError(f"--data {data} is not a folder.")
    machine = Machine(settings, home)
    say(f"Touchline {__version__}, state in {home.root}")
    home.prepare()
    home.relocate_registry()
    machine.check_ports()
    try:
        machine.start_servers()
        machine.build(data, rebuild=options.rebuild)
        home.note_addresses(machine.env)
        machine.start_touchline()
        say(f"\nMatch page http://127.0.0.1:{settings.dashboard_port}")
        say(f"API        {machine.env['API_URL']}  (documentation at /docs)\nCtrl-C stops everything.")
        machine.watch()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("Stopping …")
        machine.supervisor.stop()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stop


def main() -> int:
    """Run until a signal; the exit code."""
    options = arguments()
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        run(options)
    except Stop:
        return 0
    except ValidationError as error:
        first = error.errors()[0]
        say(f"Setting {'.'.join(map(str, first['loc'])).upper()} is wrong: {first['msg']}")
        return 1
    except (LocalError, OSError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
