"""`scripts/sql` as a person meets it: once, at a prompt, over a folder and over a bucket."""

import asyncio
import hashlib
import logging
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import structlog
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from app.settings import Settings
from app.sql.cli.console import main, work
from app.sql.cli.export import ExportFormat
from app.sql.cli.prompt import is_whole
from app.telemetry.logging import set_up_logging
from tests.support.build_artifacts import write_artifacts
from tests.support.s3 import BUCKET, KEY, S3, SECRET

pytestmark = pytest.mark.timeout(600)  # opens artifacts, some of them in a new process
SLOW = "SELECT count(*) FROM range(100000000) a(i), range(1000000) b(j) WHERE i * j = 7"


@pytest.fixture
def no_blocking() -> None:
    """A script may block: nobody else waits."""


@pytest.fixture(autouse=True)
def logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The script sets up logging for its process; loggers that keep what they were set to would keep it for ever."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **settings: configure(**settings | {"cache_logger_on_first_use": False})
    )
    set_up_logging("ERROR", "console")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of the script."""
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARTIFACTS_URI", str(artifacts))
    return tmp_path / "home"


def checksums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_table_is_what_a_person_sees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", "SELECT region, count(*) AS n FROM cards GROUP BY ALL ORDER BY 1"]) == 0
    said, complaint = capsys.readouterr()
    assert "England" in said
    assert "│" in said
    assert complaint == ""


def test_rows_go_to_a_file_in_the_form_of_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT match_id, kickoff_utc FROM predictions ORDER BY 1"
    for suffix in ("csv", "json", "parquet"):
        assert main(["-c", sql, "--out", str(tmp_path / f"x.{suffix}")]) == 0
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["match_id", "kickoff_utc"]
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 61
    assert len(orjson.loads((tmp_path / "x.json").read_bytes())["rows"]) == table.num_rows == 60
    assert capsys.readouterr().err.count("60 rows in ") == 3
    assert {path.name for path in tmp_path.iterdir()} == {"artifacts", "home", "x.csv", "x.json", "x.parquet"}


def test_every_view_is_there(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """And a temporary table of one's own."""
    views = ("predictions", "odds", "cards", "features", "region_roi")
    counts = ", ".join(f"(SELECT count(*) FROM {view}) > 0 AS {view}" for view in views)
    assert main(["-c", f"CREATE TEMP TABLE mine AS SELECT {counts}; FROM mine", "--format", "csv"]) == 0
    header = ",".join(f'"{view}"' for view in views)
    assert capfdbinary.readouterr().out.decode() == f"{header}\ntrue,true,true,true,true\n"


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("FROM nowhere", "Catalog Error: Table with name nowhere does not exist!"),
        ("", "There is no statement."),
        (
            "COPY cards TO 'cards.csv'",
            "Statements read and write no files here; --out FILE writes the rows of a query.",
        ),
        ("FROM read_csv('/etc/passwd')", "Statements read and write no files here; --out FILE writes the rows of a"),
    ],
)
def test_what_is_wrong_is_one_sentence(sql: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", sql]) == 1
    said, complaint = capsys.readouterr()
    assert said == ""
    assert complaint.startswith(sentence)
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("sql", ["DROP TABLE cards", "DELETE FROM odds", "UPDATE odds SET odds_home = 2", "CHECKPOINT"])
def test_artifacts_never_change(sql: str, artifacts: Path, home: Path) -> None:
    before = checksums(artifacts)
    main(["-c", "FROM cards"])
    databases = checksums(home / "cache/sql")
    main(["-c", sql])
    main(["-c", f"COPY odds TO '{artifacts}/match_links/fonbet_odds.parquet'"])
    assert checksums(artifacts) == before
    assert checksums(home / "cache/sql") == databases


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--out", "{artifacts}/x.csv"], "lies among the artifacts"),
        (["--out", "{home}/cache/x.csv"], "lies among the artifacts"),
        (["--out", "{home}/../artifacts/x.csv"], "lies among the artifacts"),
        (["--out", "{home}/nowhere/x.csv"], "is no folder"),
        (["--out", "{home}/../x.xlsx"], "csv, json or parquet"),
        (["--out", "{home}/../x.csv", "--format", "table"], "csv, json or parquet"),
    ],
)
def test_misuse_is_told_before_anything_runs(
    options: list[str], sentence: str, artifacts: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    filled = [option.format(artifacts=artifacts, home=home) for option in options]
    assert main(["-c", "FROM cards", *filled]) == 2
    assert sentence in capsys.readouterr().err
    assert not (home / "cache").exists()


def test_out_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path, artifacts: Path) -> None:
    before = checksums(artifacts)
    os.link(artifacts / "match_links/fonbet_odds.parquet", tmp_path / "mine.parquet")
    assert main(["-c", "SELECT 1", "--out", str(tmp_path / "mine.parquet")]) == 0
    assert checksums(artifacts) == before


def test_without_artifacts_it_says_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARTIFACTS_URI", str(tmp_path / "nowhere"))
    assert main(["-c", "SELECT 1"]) == 3
    assert "scripts/run builds some" in capsys.readouterr().err


async def test_a_bucket_is_asked_like_a_folder(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = await asyncio.to_thread(write_artifacts, tmp_path / "bucket", n_matches=77)
    await s3.upload(folder, "sql/artifacts")
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "ARTIFACTS_URI": f"s3://{BUCKET}/sql/artifacts",
    }.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "n.csv"
    assert await work(Settings(), "SELECT count(*) AS n FROM cards", ExportFormat.CSV, out) == 0
    assert out.read_text() == '"n"\n77\n'


@pytest.mark.parametrize(
    ("text", "whole"),
    [("", True), ("SELECT 1", False), ("SELECT 1;", True), ("SELECT 1;\n", True), ("exit", True), ("SELECT\n", False)],
)
def test_enter_runs_what_is_whole(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


async def typed(*lines: str) -> int:
    """A conversation in which those lines are typed."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        for line in lines:
            keys.send_text(line)
        return await work(Settings(), None, ExportFormat.CSV, None)


async def test_prompt_takes_several_lines_and_remembers(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    code = await typed("SELECT 1 AS a,\r2 AS b;\r", "nonsense;\r", "SELECT 3 AS c;\r", "exit\r")
    said, complaint = capfdbinary.readouterr()
    assert code == 0
    assert said == b'"a","b"\n1,2\n"c"\n3\n'
    assert b"Parser Error" in complaint
    assert b"60 matches" in complaint
    history = home / "sql-history"
    assert "+SELECT 1 AS a,\n+2 AS b;" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


async def test_ctrl_c_drops_what_was_typed_and_ctrl_d_leaves(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert await typed("SELECT 'lost'\x03", "SELECT 'kept' AS word;\r", "\x04") == 0
    assert capfdbinary.readouterr().out == b'"word"\n"kept"\n'


@contextmanager
def console(*argv: str, **streams: object) -> Iterator["subprocess.Popen[bytes]"]:
    """The console as a process."""
    command = [sys.executable, "-m", "app.sql.cli.console", *argv]
    with subprocess.Popen(command, **streams) as process:  # type: ignore[call-overload]  # streams by name
        try:
            yield process
        finally:
            process.kill()


def test_interrupt_ends_a_query_that_runs_once(home: Path) -> None:
    assert main(["-c", "SELECT 1"]) == 0  # makes the databases
    with console("-c", SLOW, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_busy(process.pid)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (130, b"Interrupted.\n")
    assert list((home / "cache/snapshots").iterdir()) == []


class Terminal:
    """A terminal whose screen is always read, as closing it would wait for that."""

    def __init__(self) -> None:
        self._ours, self.side = pty.openpty()
        self._shown: queue.Queue[bytes] = queue.Queue()
        self._said = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):
            while shown := os.read(self._ours, 4096):
                self._shown.put(shown)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._ours, keys)

    def wait_said(self, *words: bytes) -> None:
        """Until it has shown them, one after the other."""
        for word in words:
            while word not in self._said:
                self._said += self._shown.get(timeout=40)
            self._said = self._said.partition(word)[2]


def test_interrupt_at_the_prompt_ends_the_query_and_not_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tab completes there."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PROMPT_TOOLKIT_NO_CPR", "1")
    terminal = Terminal()
    side = terminal.side
    with console("--format", "csv", stdin=side, stdout=side, stderr=side) as process:
        terminal.wait_said(b"sql>")
        terminal.type(SLOW.encode() + b";\r")
        wait_busy(process.pid)
        process.send_signal(signal.SIGINT)
        terminal.wait_said(b"Interrupted.", b"sql>")
        terminal.type(b"SELECT count(*) + 42000 AS answer FROM predictio\t")
        terminal.wait_said(b"predictio", b"ns")
        terminal.type(b";\r")
        terminal.wait_said(b'"answer"\r\n42060', b"sql>")
        terminal.type(b"\x04")
        assert process.wait(30) == 0


def wait_busy(pid: int) -> None:
    """Until a process that has opened the database has worked for some time since, as no start of a query does."""
    deadline = time.monotonic() + 40
    while not any("data.duckdb" in opened for opened in open_files(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before_s = cpu_s(pid)
    while cpu_s(pid) < before_s + 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def open_files(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.append(str(path.readlink()))
    return found


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_reader_that_has_seen_enough_is_no_failure() -> None:
    with console(
        "-c", "FROM range(1000000)", "--format", "csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b'"range"\n'
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
