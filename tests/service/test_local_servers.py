"""The embedded servers and their supervisor, with real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import redis as redis_client

from app.artifacts.manifest import MANIFEST, FileStamp, Manifest
from app.settings import Settings
from infra.local import postgres as postgres_module
from infra.local.__main__ import Machine
from infra.local.children import Child, Command, LocalError, run_once
from infra.local.home import Home
from infra.local.ports import free_port, is_taken
from infra.local.postgres import NOBODY, Postgres
from infra.local.redis import Redis
from infra.local.services import Service, redis_service, unready_parts, wait_for_url
from infra.local.supervisor import Supervisor
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


def test_redis_keeps_what_it_was_told_when_it_is_killed(tmp_path: Path) -> None:
    redis = Redis(tmp_path)
    supervisor = Supervisor()
    service = redis_service(redis)
    supervisor.start(service)
    supervisor.wait_ready(service)
    with redis_client.Redis.from_url(redis.url) as client:
        client.set("k", "v")
        time.sleep(1.2)  # the append-only file is synced every second
        os.kill(client.info()["process_id"], signal.SIGKILL)
    assert eventually(lambda: not redis.ping())

    def is_back() -> bool:
        supervisor.watch()
        return redis.ping()

    assert eventually(is_back)
    with redis_client.Redis.from_url(redis.url) as client:
        assert client.get("k") == b"v"
    supervisor.stop()
    assert not redis.ping()


def test_redis_refuses_who_has_no_password(redis_url: str) -> None:
    with (
        redis_client.Redis.from_url(redis_url.replace(redis_url.split("@", maxsplit=1)[0], "redis://")) as client,
        pytest.raises(redis_client.AuthenticationError),
    ):
        client.ping()


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a server as another user")
def test_postgres_runs_as_nobody_where_namespaces_are_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "UNSHARE", ("false",))
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)  # pytest's folders are for their owner alone
    postgres = Postgres(tmp_path / "pg", fsync=False)
    postgres.prepare()
    child = Child(postgres.command())
    try:
        postgres.wait_ready(child)
        assert psutil.Process(child.pid).uids().real == NOBODY
    finally:
        child.stop()


@pytest.mark.timeout(600)  # starts a process
def test_a_child_dies_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from infra.local.children import Child, Command;"
        "c = Child(Command('c', [sys.executable, '-c', 'import time; time.sleep(60)']));"
        "print(c.pid, flush=True); import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    assert eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
    ]
    child = Child(Command("deaf", argv, log=tmp_path / "log", stop_timeout_s=0.3))
    assert eventually(lambda: child.log_tail() == "1")
    child.stop()
    assert child.exit_code == -signal.SIGKILL


def test_a_failing_command_shows_its_last_words(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no such folder')"]
    with pytest.raises(LocalError, match="The build failed: no such folder"):
        run_once(Command("The build", argv, log=tmp_path / "log"))


def test_a_service_that_ends_is_started_again() -> None:
    supervisor = Supervisor()
    started: list[Command] = []

    def make() -> Command:
        started.append(Command("sleeper", SLEEPER))
        return started[-1]

    service = Service("sleeper", make, lambda _child: None)
    supervisor.start(service)
    victim = next(p for p in psutil.Process().children() if p.cmdline() == list(SLEEPER))
    victim.kill()

    def is_back() -> bool:
        supervisor.watch()
        return len(started) == 2

    assert eventually(is_back)
    supervisor.stop()
    assert not [p for p in psutil.Process().children() if p.cmdline() == list(SLEEPER)]


def test_waiting_for_a_service_that_stops_says_why(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('port in use')"]
    child = Child(Command("API", argv, log=tmp_path / "log"))
    with pytest.raises(LocalError, match="API stopped: port in use"):
        wait_for_url(f"http://127.0.0.1:{free_port()}/livez", child)


def test_unready_says_what_is_missing_when_nobody_listens() -> None:
    assert "refused" in unready_parts(f"http://127.0.0.1:{free_port()}")


def test_a_port_somebody_listens_on_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert is_taken("127.0.0.1", server.getsockname()[1])
    assert not is_taken("127.0.0.1", free_port())


@pytest.mark.timeout(600)  # starts a process
def machine(tmp_path: Path, **settings: int) -> Machine:
    ports = {"app_port": free_port(), "dashboard_port": free_port(), "worker_metrics_port": 0}
    values = ports | settings
    return Machine(Settings(touchline_home=tmp_path, **values), Home(tmp_path))  # type: ignore[arg-type]  # only ports


@pytest.mark.parametrize("name", ["app_port", "dashboard_port", "worker_metrics_port"])
def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path, name: str) -> None:
    machine(tmp_path).check_ports()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(LocalError, match=f"Port {port} is in use; .* set {name.upper()} to another"):
            machine(tmp_path, **{name: port}).check_ports()


def test_two_services_on_one_port_are_told_before_anything_starts(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(LocalError, match=f"APP_PORT and DASHBOARD_PORT are both {port}"):
        machine(tmp_path, app_port=port, dashboard_port=port).check_ports()
    with pytest.raises(LocalError, match=f"DASHBOARD_PORT and WORKER_METRICS_PORT are both {port}"):
        machine(tmp_path, dashboard_port=port, worker_metrics_port=port).check_ports()


def test_logs_of_a_service_take_no_more_than_their_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.children.LOG_BYTES", 200_000)
    talker = "import sys, time\nfor n in range(10**6): print(n, 'x' * 200, flush=True); time.sleep(0.0002)"
    log = tmp_path / "logs" / "talker.log"
    supervisor = Supervisor()
    command = Command("talker", [sys.executable, "-c", talker], log=log)
    supervisor.start(Service("talker", lambda: command, lambda _child: None))

    def has_rotated(times: int) -> bool:
        supervisor.watch()
        return log.with_name(f"talker.log.{times}").exists()

    assert eventually(lambda: has_rotated(3), 60)
    oldest = log.with_name("talker.log.3").read_text()
    assert eventually(lambda: has_rotated(3) and log.with_name("talker.log.3").read_text() != oldest, 60)
    supervisor.stop()
    assert sorted(path.name for path in log.parent.iterdir()) == ["talker.log", *(f"talker.log.{n}" for n in (1, 2, 3))]
    first, *_, last = log.with_name("talker.log.1").read_text().splitlines()
    assert int(first.split()[0]) < int(last.split()[0])  # whole lines, and the newest before the cut
    numbers = [int(line.split()[0]) for line in log.read_text().splitlines() if line.endswith("x")]
    assert min(numbers, default=10**6) > int(first.split()[0])  # a log that was just cut may be empty


def test_a_home_serves_one_run_at_a_time(tmp_path: Path) -> None:
    script = "import sys, pathlib; from infra.local.home import Home; Home(pathlib.Path(sys.argv[1])).prepare()"
    Home(tmp_path).prepare()
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"Touchline already runs on {tmp_path} (pid {os.getpid()})." in other.stderr


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="set TOUCHLINE_HOME"):
        Home(tmp_path / "file" / "home").prepare()


def publish_one_file(home: Home) -> Path:
    """A registry, and artifacts of one file with their manifest; gives back that file."""
    for folder in (home.artifacts, home.registry):
        folder.mkdir(parents=True)
    (home.registry / "mlflow.db").touch()
    file = home.artifacts / "scores.json"
    file.write_text("{}")
    now = datetime(2026, 8, 20, tzinfo=UTC)
    files = {file.name: FileStamp.from_file(file)}
    manifest = Manifest(
        source="simulated", simulated=True, built_at=now, data_until=now, features_computed_at=now, files=files
    )
    (home.artifacts / MANIFEST).write_text(manifest.model_dump_json())
    return file


def test_half_published_artifacts_ask_for_a_build(tmp_path: Path) -> None:
    """A crash between two files leaves a manifest that does not vouch for all of them."""
    home = Home(tmp_path)
    file = publish_one_file(home)
    assert not home.needs_build(None)
    file.write_text("{...")
    assert home.needs_build(None)
    file.unlink()
    assert home.needs_build(None)
    file.write_text("{}")
    assert not home.needs_build(None)
    (home.artifacts / MANIFEST).write_text("")
    assert home.needs_build(None)


def test_new_data_asks_for_a_build(tmp_path: Path) -> None:
    home, data = Home(tmp_path / "home"), tmp_path / "data"
    data.mkdir()
    (data / "E0.csv").write_text("Div\n")
    assert home.needs_build(None)
    publish_one_file(home)
    assert not home.needs_build(None)
    assert home.needs_build(data)
    home.note_build(data)
    assert not home.needs_build(data)
    # a changed file is for a refresh, another folder for a build
    (data / "E0.csv").write_text("Div,Date\n")
    assert not home.needs_build(data)
    assert home.needs_build(tmp_path / "other")


def test_a_site_that_is_away_matters_only_where_there_is_nothing_yet(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    there = Machine(Settings(touchline_home=tmp_path, source_url=address), Home(tmp_path))
    there.env |= {"SOURCE_URL": address, "PYTHONPATH": str(ROOT)}
    data = tmp_path / "data"
    with pytest.raises(LocalError, match=r"There is no league XX|nothing in .* to serve"):
        there.fetch("XX", 2024, data)
    data.mkdir(exist_ok=True)
    (data / "E0.csv").write_text("Div,Date\n")
    there.fetch("XX", 2024, data)


def test_what_is_served_is_refreshed_from_where_it_came(tmp_path: Path) -> None:
    here, data = machine(tmp_path), tmp_path / "data"

    def source(folder: Path | None, leagues: str | None = None) -> dict[str, str] | None:
        return here.find_source(Namespace(leagues=leagues, since=2020), folder)

    assert source(None) is None  # a simulated world stays what it is
    assert source(tmp_path / "mine") == {"SOURCE_FOLDER": str(tmp_path / "mine")}
    named = {"SOURCE_LEAGUES": "E0", "SOURCE_SINCE": "2020"}
    assert source(data, "E0") == named
    assert source(tmp_path / "mine", "E0") == named | {"SOURCE_FOLDER": str(tmp_path / "mine")}
    settings = Settings(touchline_home=tmp_path, source_leagues="SP1")
    assert Machine(settings, Home(tmp_path)).find_source(Namespace(leagues=None, since=2015), None) == {}
