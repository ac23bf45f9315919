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
from infra.local.children import WATCH_S, Command, LocalError, run_once
from infra.local.home import Home
from infra.local.ports import is_taken
from infra.local.postgres import Postgres
from infra.local.redis import Redis
from infra.local.secret import secret
from infra.local.services import Service, answers, postgres_service, python_service, redis_service, unready_parts
from infra.local.supervisor import Supervisor

BUILD_TIMEOUT_S = 3600.0
FETCH_TIMEOUT_S = 7200.0
MATCHES_TIMEOUT_S = 600.0
WORKERS_TIMEOUT_S = 90.0
PAGE_KEY_PREFIX = "matchpage"
PAGE_KEY_SCOPES = frozenset({Scope.READ, Scope.PREDICT, Scope.MONITOR})  # the last for the drift report
_IMPORTED_AT = time.time()


class Stop(BaseException):
    """Somebody asked us to stop."""


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, flush=True)  # noqa: T201


def since_start_s() -> float:
    """Return the seconds since `scripts/run` was called, the installation of packages included."""
    return time.time() - float(os.environ.get("TOUCHLINE_STARTED_AT") or _IMPORTED_AT)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser("scripts/run", description="Run all of Touchline on this machine.")
    parser.add_argument("--data", type=Path, help="folder of football-data.co.uk files (default: a simulated sample)")
    parser.add_argument("--leagues", help="fetch these from football-data.co.uk and serve them: E0,SP1,… or all")
    parser.add_argument("--since", type=int, default=2015, help="first season to fetch, by its year (%(default)s)")
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
        self.page_url = f"http://127.0.0.1:{settings.dashboard_port}"
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

    def serve(self, options: argparse.Namespace, data: Path | None) -> None:
        """Start everything, in an order that brings the page soonest, and keep it alive."""
        self.start_servers()
        self.home.note_addresses(self.env)
        self.start_readers()
        self.build(data, rebuild=options.rebuild)
        self.start_workers()
        self.tell_readers_ready()
        say(f"API        {self.env['API_URL']}  (documentation at /docs)")
        self.tell_workers_ready()
        self.start_pipeline(options, data)
        say(f"Live predictions after {since_start_s():.0f} s. Ctrl-C stops everything.")
        self.watch()

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

    def name_stores(self) -> None:
        """Say where registry and artifacts are, unless the environment names others."""
        if "mlflow_tracking_uri" not in self.given:
            self.env["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.home.registry / 'mlflow.db'}"
        if "artifacts_uri" not in self.given:
            self.env["ARTIFACTS_URI"] = str(self.home.artifacts)

    def start_readers(self) -> None:
        """Start API and match page; they import what they need while a build still runs."""
        key = ensure_page_key(self.settings, self.home)
        page_env = {**self.env, **({"API_KEY": key} if key else {})}
        self._api = python_service("API", "app", self.home, self.env, f"{self.env['API_URL']}/livez")
        self._page = python_service("match page", "dashboards", self.home, page_env, f"{self.page_url}/")
        # in the order of their dependence: the page is stopped first
        self.supervisor.start(self._api, self._page)

    def fetch(self, leagues: str, since: int, data: Path) -> None:
        """Bring what is new into `data`; a site that is away does not matter where there is something to serve."""
        say(f"  ▸ fetching {leagues} from {self.settings.source_url}")
        options = ["--leagues", leagues, "--since", str(since), "--into", str(data)]
        command = Command("The fetch", [sys.executable, "-m", "worker.pipeline.fetch", *options], env=self.env)
        try:
            run_once(command, timeout_s=FETCH_TIMEOUT_S)
        except LocalError as error:
            if not any(data.rglob("*.csv")):
                raise LocalError(f"{error} There is nothing in {data} to serve.") from error
            say(f"  … {error} Serving what is in {data}.")

    def build(self, data: Path | None, *, rebuild: bool) -> None:
        """Artifacts and a champion, when there are none; what runs already is kept alive meanwhile."""
        if "artifacts_uri" in self.given or not (rebuild or self.home.needs_build(data)):
            return  # files that have changed since are the pipeline's to read: a refresh, not a training
        say(f"  ▸ building artifacts and models from {data or 'a simulated sample'}")
        options = [] if data is None else ["--data", str(data)]
        argv = [sys.executable, "-m", "worker.pipeline.build", "--out", str(self.home.artifacts), *options]
        # threads that wait by spinning would take the cores from the processes beside them
        env = {"OMP_WAIT_POLICY": "PASSIVE", **self.env}
        run_once(Command("The build", argv, env=env), timeout_s=BUILD_TIMEOUT_S, meanwhile=self.supervisor.watch)
        self.home.note_build(data)

    def start_pipeline(self, options: argparse.Namespace, data: Path | None) -> None:
        """Start what refreshes the artifacts, where there is a source: leagues, a folder, or settings that name one."""
        source = self.find_source(options, data)
        if source is None:
            return
        env = {"OMP_WAIT_POLICY": "PASSIVE", **self.env, **source}
        self.supervisor.start(python_service("pipeline", "worker.pipeline", self.home, env))
        hours = ", ".join(f"{hour:02}:00" for hour in self.settings.refresh_hours)
        say(f"  ✓ {'pipeline':<12} refreshes at {hours or 'no hour by itself'} UTC, and by scripts/refresh")

    def find_source(self, options: argparse.Namespace, data: Path | None) -> dict[str, str] | None:
        """Return the settings that tell the pipeline its source; None where there is none to refresh from."""
        if options.leagues:
            leagues = {"SOURCE_LEAGUES": options.leagues, "SOURCE_SINCE": str(options.since)}
            # a folder of somebody's own is fetched into and watched
            return leagues | ({} if data == self.home.data else {"SOURCE_FOLDER": str(data)})
        if data is not None:
            return {"SOURCE_FOLDER": str(data)}
        return {} if self.given & {"source_leagues", "source_folder"} else None

    def start_workers(self) -> None:
        """Start the pool: the registry has a champion by now, or somebody else keeps it."""
        self.supervisor.start(python_service("worker pool", "worker", self.home, self.env))

    def tell_readers_ready(self) -> None:
        """Wait until the page has matches to show."""
        self._tell_ready(self._api)
        self._tell_ready(self._page)
        while not answers(f"{self.env['API_URL']}/readyz?need=reads") and since_start_s() < MATCHES_TIMEOUT_S:
            self.supervisor.watch()
            time.sleep(WATCH_S)
        say(f"\nMatch page {self.page_url}  ({since_start_s():.0f} s after the start)")

    def tell_workers_ready(self) -> None:
        """Wait until live predictions are answered."""
        began = time.monotonic()
        while (missing := unready_parts(self.env["API_URL"])) and time.monotonic() - began < WORKERS_TIMEOUT_S:
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
    if options.leagues and data is None:
        data = home.data
    if data is not None and not options.leagues and not data.is_dir():
        raise LocalError(f"--data {data} is not a folder.")
    machine = Machine(settings, home)
    say(f"Touchline {__version__}, state in {home.root}")
    home.prepare()
    home.relocate_registry()
    machine.check_ports()
    try:
        machine.name_stores()
        if options.leagues:
            machine.fetch(options.leagues, options.since, home.data if data is None else data)
        machine.serve(options, data)
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
