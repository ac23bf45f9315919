"""The scheduled check: a bounded process of its own, started by a real worker, its report in a real Redis."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from arq import Worker
from arq.connections import ArqRedis
from pydantic import ValidationError

from app.artifacts.contract import DRIFT, DRIFT_HTML, PREDICTIONS, DriftReport
from app.domain.drift import CheckState, ReportState
from app.queue.drift_reports import DriftReports
from app.queue.jobs import Job
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import loads
from app.settings import Settings
from tests.support.build_artifacts import FEATURE_NAMES, NOW, write_artifacts
from tests.support.live import MemorySource, serving
from tests.support.models import FEATURES
from tests.support.serving import until
from worker.drift_job import run_bounded
from worker.main import make_worker, stock_settings
from worker.pipeline.drift.windows import NothingToCompare, Training, check_job

TRAINED_UNTIL = NOW - timedelta(days=300)


@pytest.fixture(scope="module")
def many_matches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 2,000 matches, three a day."""
    return write_artifacts(tmp_path_factory.mktemp("many") / "artifacts", n_matches=2000)


@pytest.fixture
def live_settings(live_settings: Settings, tmp_path: Path, many_matches: Path) -> Settings:
    """A worker that checks these artifacts."""
    return live_settings.model_copy(update={"touchline_home": tmp_path, "artifacts_uri": str(many_matches)})


@pytest.fixture
def reports(redis: ArqRedis, live_settings: Settings) -> DriftReports:
    return DriftReports(redis, RedisKeys(live_settings.queue_name))


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "worker.pipeline.drift", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.timeout(600)
def test_the_script_compares_with_the_training_and_writes_both_files(many_matches: Path, tmp_path: Path) -> None:
    turn = TRAINED_UNTIL.date().isoformat()
    done = script("--artifacts", str(many_matches), "--out", str(tmp_path), "--trained-until", turn)
    assert done.returncode == 0, done.stderr
    report = DriftReport.model_validate_json((tmp_path / DRIFT).read_bytes())
    assert (report.state, report.n_features, report.n_drifted) == (ReportState.COMPARED, 6, 0)
    assert report.reference["to"] < turn <= report.current["from"]  # type: ignore[operator]  # both are dates
    assert {feature.feature for feature in report.probabilities} == {"proba_home", "proba_draw", "proba_away"}
    assert report.summary in done.stderr
    assert "simulated" in (tmp_path / DRIFT_HTML).read_text()
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.timeout(600)
def test_no_artifacts_and_no_results_are_states(tmp_path: Path) -> None:
    nowhere = script("--artifacts", str(tmp_path / "nowhere"), "--out", str(tmp_path))
    assert CheckState.of_exit(nowhere.returncode) is CheckState.NO_DATA
    assert "Traceback" not in nowhere.stderr


def test_artifacts_without_a_result_have_no_window(tmp_path: Path) -> None:
    folder = write_artifacts(tmp_path, n_upcoming=60, edit={PREDICTIONS: all_upcoming})
    with pytest.raises(NothingToCompare):
        check_job(folder, Training(), NOW)


def all_upcoming(table: pa.Table) -> pa.Table:
    place = table.column_names.index("status")
    return table.set_column(place, "status", pa.array(["upcoming"] * len(table)))


def test_windows_are_those_of_the_training_or_of_the_published_report(many_matches: Path, tmp_path: Path) -> None:
    known = check_job(many_matches, Training(TRAINED_UNTIL, ("a",)), NOW)
    assert (known.reference_until, known.trained_on, known.simulated) == (TRAINED_UNTIL, ("a",), True)
    assert known.reference_since < known.reference_until <= known.current_since
    # the published report ends its reference on 2025-06-30
    published = check_job(many_matches, Training(), NOW)
    assert published.reference_until == datetime(2025, 7, 1, tzinfo=UTC)
    (tmp_path / "predictions").mkdir()
    (tmp_path / PREDICTIONS).write_bytes((many_matches / PREDICTIONS).read_bytes())
    alone = check_job(tmp_path, Training(), NOW)
    assert (alone.reference_until, alone.simulated) == (alone.current_since - timedelta(days=365), None)


NOT_INSTALLED = """
import importlib.util, os, sys
importlib.util.find_spec = lambda name: None
from worker.pipeline.drift.__main__ import main
os._exit(main(["--artifacts", "nowhere", "--out", sys.argv[1]]))
"""


@pytest.mark.timeout(600)
async def test_without_evidently_a_check_says_so(tmp_path: Path) -> None:
    state, detail = await run_bounded([sys.executable, "-c", NOT_INSTALLED, str(tmp_path)], "", 50)
    assert state is CheckState.NOT_INSTALLED
    assert "batch" in detail


TOO_MUCH = """
import os
from worker.pipeline.drift.__main__ import _limit_resources, _end
from app.domain.drift import CheckState
_limit_resources(1500)
try:
    bytearray(2 * 10**9)
except MemoryError:
    os._exit(_end(CheckState.OUT_OF_MEMORY, "too much"))
"""


@pytest.mark.timeout(600)
async def test_memory_is_bounded() -> None:
    assert await run_bounded([sys.executable, "-c", TOO_MUCH], "", 50) == (CheckState.OUT_OF_MEMORY, "too much")


@pytest.mark.parametrize(
    ("code", "state", "detail"),
    [
        ("raise ZeroDivisionError('a bug')", CheckState.FAILED, "ZeroDivisionError: a bug"),
        ("import os; os.kill(os.getpid(), 9)", CheckState.FAILED, ""),
        ("import sys; print(sys.stdin.read(), file=sys.stderr)", CheckState.DONE, "asked"),
    ],
)
async def test_what_a_process_comes_to(code: str, state: CheckState, detail: str) -> None:
    assert await run_bounded([sys.executable, "-c", code], "asked", 30) == (state, detail)


SLEEPS = [sys.executable, "-c", "import time; time.sleep(1000)"]


async def test_a_process_past_its_deadline_is_killed() -> None:
    assert (await run_bounded(SLEEPS, "", 0.5))[0] is CheckState.TIMED_OUT
    assert sleepers() == []


async def test_a_cancelled_check_leaves_no_process() -> None:
    check = asyncio.create_task(run_bounded(SLEEPS, "", 100))

    async def is_there() -> bool:
        return bool(sleepers())

    await until(is_there)
    check.cancel()
    with suppress(asyncio.CancelledError):
        await check
    assert sleepers() == []


def sleepers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.cmdline()[-1:] == SLEEPS[-1:]]


@pytest.mark.timeout(600)
async def test_a_worker_checks_and_hands_the_report_to_all(
    live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis, reports: DriftReports
) -> None:
    async with serving(live_settings, shelf_source):
        job = await redis.enqueue_job(Job.CHECK_DRIFT)
        assert job is not None
        result = await job.result(timeout=100, poll_delay=0.1)
    assert result["state"] == "done", result
    raw, last = await reports.newest()
    assert raw is not None
    assert last is not None
    report = DriftReport.model_validate_json(raw)
    assert (last.state, last.detail) == ("done", report.summary)
    # the worker knows what its champion was trained on, and half of that is not in these artifacts
    vanished = {feature.feature for feature in report.features if feature.state == "vanished"}
    assert vanished == set(FEATURES) - set(FEATURE_NAMES)
    page = await reports.page()
    assert page is not None
    assert b"<h1>Drift" in page


async def test_one_check_at_a_time(
    live_settings: Settings, shelf_source: MemorySource, redis: ArqRedis, reports: DriftReports
) -> None:
    assert await reports.begin("another", 60)
    async with serving(live_settings, shelf_source):
        job = await redis.enqueue_job(Job.CHECK_DRIFT)
        assert job is not None
        assert (await job.result(timeout=8, poll_delay=0.02))["state"] == "busy"
    await reports.end("nobody")
    assert not await reports.begin("third", 60)
    # tried again after its worker was killed
    assert await reports.begin("another", 60)
    await reports.end("another")
    assert await reports.begin("third", 60)


async def test_what_is_due_by_the_clock_is_enqueued_once_whoever_looks(
    live_settings: Settings, redis: ArqRedis, shelf_source: MemorySource
) -> None:
    settings = live_settings.model_copy(update={"drift_hours": (5,)})
    ours = [make_worker(settings, redis, source=lambda _: shelf_source) for _ in range(2)]
    stock = Worker(**stock_settings(settings, source=lambda _: shelf_source) | {"redis_pool": redis})
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    for hour, minute in ((4, 0), (4, 30)):
        for worker in (*ours, stock):
            await worker.run_cron(day.replace(hour=hour, minute=minute), 5.0)
        assert await redis.zcard(settings.queue_name) == 0
    for worker in (*ours, stock):
        await worker.run_cron(day.replace(hour=4, minute=59, second=55), 5.0)
    (job_id,) = await redis.zrange(settings.queue_name, 0, -1)
    assert loads(await redis.get(b"arq:job:" + job_id))["f"] == Job.CHECK_DRIFT
    # arq's default would forget a check that is done, and a late worker would do it again
    assert [job.keep_result_s for job in ours[0].cron_jobs] == [settings.result_ttl_s]


def test_no_hour_is_never(live_settings: Settings, redis: ArqRedis, shelf_source: MemorySource) -> None:
    assert not make_worker(live_settings, redis, source=lambda _: shelf_source).cron_jobs


def test_a_state_survives_the_exit_code() -> None:
    assert [CheckState.of_exit(state.exit_code) for state in CheckState] == list(CheckState)
    assert {CheckState.of_exit(code) for code in (1, 2, -9, 137)} == {CheckState.FAILED}


def test_an_hour_that_no_clock_shows_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match="drift_hours"):
        Settings(drift_hours=(5, 25))
