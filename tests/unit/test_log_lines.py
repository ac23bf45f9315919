"""Lines of a turn of the loop are written together, and none is lost."""

import asyncio
import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import structlog

from app.telemetry.logging import LineWriter, RequestLog, request_log, set_up_logging


class Recorder(io.StringIO):
    """Standard error that remembers each write, and may be full."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        self.writes.append(text)
        return len(text)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    # pytest puts its own in the place of sys.stderr when a test begins
    monkeypatch.setattr("app.telemetry.logging.sys", SimpleNamespace(stderr=recorder))
    return recorder


async def test_lines_of_one_turn_are_one_write(stderr: Recorder) -> None:
    writer = LineWriter()
    writer.write("a")
    writer.write("b")
    assert stderr.writes == []
    await asyncio.sleep(0)
    assert stderr.writes == ["a\nb\n"]
    writer.write("c")
    await asyncio.sleep(0)
    assert stderr.writes == ["a\nb\n", "c\n"]


def test_lines_outside_a_loop_are_written_at_once(stderr: Recorder) -> None:
    writer = LineWriter()
    writer.write("a")
    assert stderr.writes == ["a\n"]


async def test_no_line_of_any_thread_is_lost(stderr: Recorder) -> None:
    writer = LineWriter()
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(lambda n=n: [writer.write(f"{n}-{k}") for k in range(500)]) for n in range(4)]
        for k in range(500):
            writer.write(f"loop-{k}")
            await asyncio.sleep(0)
    for future in work:
        future.result()
    await asyncio.sleep(0)
    written = "".join(stderr.writes).splitlines()
    assert sorted(written) == sorted(f"{n}-{k}" for n in [*range(4), "loop"] for k in range(500))


def test_lines_of_a_loop_that_ended_are_not_lost(stderr: Recorder) -> None:
    writer = LineWriter()
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: (loop.stop(), writer.write("last")))
    loop.run_forever()
    loop.close()
    assert stderr.writes == []
    writer.write("next")
    assert "".join(stderr.writes) == "last\nnext\n"


def test_disk_that_is_full_stops_nobody(stderr: Recorder) -> None:
    writer = LineWriter()
    stderr.is_full = True
    writer.write("a")
    stderr.is_full = False
    writer.write("b")
    assert stderr.writes == ["b\n"]


FIELDS = {"method": "GET", "path": "/a\udcff", "status": 200, "duration_ms": 1.25, "key": None}


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
def test_line_of_a_request_is_that_of_every_logger(stderr: Recorder, level: str) -> None:
    """Written directly, it has the fields that structlog writes; and none is written above its level."""
    handlers = logging.getLogger().handlers[:]
    try:
        set_up_logging(level, "json")
        with structlog.contextvars.bound_contextvars(request_id="r", trace_id="t"):
            structlog.get_logger("app.auth").info("request", **FIELDS)
            request_log.write("r", "t", dict(FIELDS))
    finally:
        structlog.reset_defaults()
        request_log.processors = []
        logging.getLogger().handlers[:] = handlers
    lines = [json.loads(line) for line in "".join(stderr.writes).splitlines()]
    assert len(lines) == (2 if level == "INFO" else 0)
    for line in lines:
        assert line.pop("timestamp").endswith("Z")
    assert lines[1:] == lines[:1]


def test_line_of_a_request_goes_through_structlog_where_lines_are_no_json() -> None:
    with structlog.testing.capture_logs() as lines:
        RequestLog("app.auth").write("r", "t", dict(FIELDS))
    assert lines == [FIELDS | {"event": "request", "log_level": "info"}]
