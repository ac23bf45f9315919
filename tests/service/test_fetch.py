"""`scripts/fetch` against a copy of the site on this machine: what is new, what stays, and the site's bad days."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import pytest

from tests.support import site as site_module
from tests.support.site import HAS_REAL, HTML, Site, breaks_off, cuts, made_files, real_files, says, season_file, stalls
from worker.pipeline import fetch as fetch_module
from worker.pipeline.failures import BuildStopped
from worker.pipeline.fetch import FetchOutcome, FetchPlan, fetch, main, parse_leagues, refuse_foreign, summary_table
from worker.pipeline.ingest.reader import read_folder

WINTER = datetime(2024, 12, 1, tzinfo=UTC)
NEXT_WINTER = datetime(2025, 12, 1, tzinfo=UTC)
LIST, SEASON = "fixtures.csv", "mmz4281/2425/E0.csv"
Plan = Callable[..., FetchPlan]


@pytest.fixture
def site() -> Site:
    return Site(made_files())


@pytest.fixture
async def plan(site: Site, aiohttp_server: Callable[..., Awaitable[object]], tmp_path: Path) -> Plan:
    server = await aiohttp_server(site.app())

    def made(*leagues: str, since: int = 2023, now: datetime = WINTER) -> FetchPlan:
        address = str(server.make_url("/"))  # type: ignore[attr-defined]  # pytest-aiohttp's server
        return FetchPlan(address, leagues or ("E0", "SP1"), since, tmp_path / "data", now, first_pause_s=0.01)

    return made


async def outcomes(plan: FetchPlan) -> dict[str, FetchOutcome]:
    return {each.file.address: each.outcome for each in await fetch(plan)}


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".fetch" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


async def test_a_first_fetch_brings_every_file_and_is_read_whole(plan: Plan, site: Site) -> None:
    asked = plan("E0", "SP1", "ARG")
    found = await fetch(asked)
    assert {each.outcome for each in found} == {FetchOutcome.NEW}
    assert {each.file.address for each in found} == set(site.files)
    assert sum(each.rows for each in found) == 2 * (80 + 40) + 1 + 3 + 2
    files = await asyncio.to_thread(contents, asked.folder)
    assert set(files) == {
        *(f"main/{season}/{code}.csv" for season in ("2324", "2425") for code in ("E0", "SP1")),
        "new/ARG.csv", "fixtures/fixtures.csv", "fixtures/new_league_fixtures.csv",
    }  # fmt: skip
    assert files["main/2324/E0.csv"] == site.files["mmz4281/2324/E0.csv"]
    # of a list only the leagues that were asked for: there are no results of the others
    assert b"\nD1," not in files["fixtures/fixtures.csv"]
    assert b"\nSP1," in files["fixtures/fixtures.csv"]
    assert b"Japan" not in files["fixtures/new_league_fixtures.csv"]
    ingest = await asyncio.to_thread(read_folder, asked.folder, now=WINTER)
    assert not ingest.report.faults
    assert (ingest.report.n_upcoming, ingest.report.rows_in) == (3, 2 * (80 + 40) + 1 + 3)
    assert all(agent.startswith("Touchline/") for agent in site.agents)
    assert site.most_at_once == 2


async def test_what_has_not_changed_is_told_by_the_site_and_finished_seasons_are_not_asked_for(
    plan: Plan, site: Site
) -> None:
    await fetch(plan())
    site.files[SEASON] = season_file("E0", 50)
    before = dict(site.asked)
    found = await outcomes(plan())
    assert found == {
        LIST: FetchOutcome.UNCHANGED,
        SEASON: FetchOutcome.CHANGED,
        "mmz4281/2425/SP1.csv": FetchOutcome.UNCHANGED,
        "mmz4281/2324/E0.csv": FetchOutcome.FINISHED,
        "mmz4281/2324/SP1.csv": FetchOutcome.FINISHED,
    }
    assert site.asked["mmz4281/2324/E0.csv"] == before["mmz4281/2324/E0.csv"] == 1
    assert site.statuses[304] == 2
    # a year later the season of then is asked for once more, and then it is finished too
    await fetch(plan(now=NEXT_WINTER))
    assert site.asked[SEASON] == 3
    assert (await outcomes(plan(now=NEXT_WINTER)))[SEASON] is FetchOutcome.FINISHED


async def test_a_file_that_was_lost_or_damaged_is_fetched_anew(plan: Plan, site: Site) -> None:
    asked = plan()
    await fetch(asked)
    await asyncio.to_thread((asked.folder / "main/2324/E0.csv").unlink)
    await asyncio.to_thread((asked.folder / "main/2425/E0.csv").write_bytes, b"Div,Date\n")
    await asyncio.to_thread((asked.folder / "fixtures/fixtures.csv").unlink)
    found = await outcomes(asked)
    assert found["mmz4281/2324/E0.csv"] is FetchOutcome.NEW
    assert found[SEASON] is FetchOutcome.CHANGED
    files = await asyncio.to_thread(contents, asked.folder)
    assert files["main/2425/E0.csv"] == site.files[SEASON]
    assert b"\nE0," in files["fixtures/fixtures.csv"]


async def test_other_leagues_find_their_rows_in_a_list_that_has_not_changed(plan: Plan) -> None:
    await fetch(plan("E0"))
    await fetch(plan("SP1"))
    files = await asyncio.to_thread(contents, plan().folder)
    assert files["fixtures/fixtures.csv"].splitlines()[1:] == [b"SP1,20/12/2024,15:00,Club 1,Club 2,2,3,4"]


@pytest.mark.parametrize("status", [300, 404, 410])
async def test_a_season_that_is_yet_to_come_is_no_failure(plan: Plan, site: Site, status: int) -> None:
    site.faults[SEASON] = [says(status, HTML, Content_Type="text/html")]
    assert (await outcomes(plan()))[SEASON] is FetchOutcome.ABSENT
    assert (await outcomes(plan()))[SEASON] is FetchOutcome.NEW


@pytest.mark.parametrize(
    "fault",
    [breaks_off, cuts(0.503), says(503), says(500), says(429), says(429, Retry_After="0"), says(408)],
    ids=["broken_off", "cut_in_a_row", "503", "500", "429", "429_now", "408"],
)
async def test_a_passing_fault_is_tried_again(plan: Plan, site: Site, fault: site_module.Fault) -> None:
    site.faults[SEASON] = [fault, fault]
    assert (await outcomes(plan()))[SEASON] is FetchOutcome.NEW
    assert site.asked[SEASON] == 3
    files = await asyncio.to_thread(contents, plan().folder)
    assert files["main/2425/E0.csv"] == site.files[SEASON]


@pytest.mark.parametrize("as_date", [False, True])
async def test_the_pause_that_the_site_asks_for_is_kept(plan: Plan, site: Site, as_date: bool) -> None:
    # a date has whole seconds, so that up to one of the two may have passed already
    asks = format_datetime(datetime.fromtimestamp(time.time() + 2, UTC), usegmt=True) if as_date else "1"
    site.faults[SEASON] = [says(429, Retry_After=asks)]
    began = time.monotonic()
    assert (await outcomes(replace(plan(), first_pause_s=0.0)))[SEASON] is FetchOutcome.NEW
    assert time.monotonic() - began >= (0.5 if as_date else 1.0)


async def test_a_site_that_asks_for_an_hour_is_left_in_peace(plan: Plan, site: Site) -> None:
    site.faults[SEASON] = [says(429, Retry_After="3600")]
    found = {each.file.address: each for each in await fetch(plan())}
    assert (found[SEASON].outcome, found[SEASON].detail) == (FetchOutcome.FAILED, "answer 429")
    assert site.asked[SEASON] == 1


async def test_a_stall_ends_and_is_tried_again(plan: Plan, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "TIMEOUT", aiohttp.ClientTimeout(sock_read=0.3))
    site.faults[SEASON] = [stalls]
    assert (await outcomes(plan()))[SEASON] is FetchOutcome.NEW


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (says(200, HTML, Content_Type="text/html"), "a web page"),
        (says(200, b"\n\n <html>"), "a web page"),
        (says(200, b""), "no list of matches"),
        (says(200, b"a,b,c\n1,2,3\n"), "no list of matches"),
        (says(403), "answer 403"),
    ],
    ids=["html", "html_later", "empty", "other_csv", "forbidden"],
)
async def test_what_is_no_file_of_matches_is_refused_and_the_old_one_stays(
    plan: Plan, site: Site, fault: site_module.Fault, said: str
) -> None:
    asked = plan()
    await fetch(asked)
    before = await asyncio.to_thread(contents, asked.folder)
    site.faults[SEASON] = [fault]
    found = {each.file.address: each for each in await fetch(asked)}
    assert found[SEASON].outcome is FetchOutcome.FAILED
    assert said in found[SEASON].detail
    assert await asyncio.to_thread(contents, asked.folder) == before
    assert (await outcomes(asked))[SEASON] is FetchOutcome.UNCHANGED


async def test_a_beginning_of_what_is_here_already_is_no_news(plan: Plan, site: Site) -> None:
    asked = plan()
    await fetch(asked)
    whole = site.files[SEASON]
    site.files[SEASON] = whole[: whole.index(b"\n", len(whole) // 2) + 1]  # cut between two rows, for good
    found = {each.file.address: each for each in await fetch(asked)}
    assert found[SEASON].outcome is FetchOutcome.FAILED
    assert (await asyncio.to_thread(contents, asked.folder))["main/2425/E0.csv"] == whole


async def test_two_fetches_at_once_cannot_be(plan: Plan) -> None:
    first, second = await asyncio.gather(fetch(plan()), fetch(plan()), return_exceptions=True)
    stopped = [each for each in (first, second) if isinstance(each, BaseException)]
    assert len(stopped) == 1
    assert isinstance(stopped[0], BuildStopped)
    assert "Another fetch" in str(stopped[0])


async def test_a_fetch_that_is_killed_leaves_whole_files(plan: Plan, site: Site) -> None:
    """Killed while files arrive; the next one brings the rest."""
    asked = plan()
    site.faults["mmz4281/2324/SP1.csv"] = [stalls]
    env = os.environ | {"SOURCE_URL": asked.address}  # noqa: TID251 - what a shell gives
    argv = [sys.executable, "-m", "worker.pipeline.fetch", "--leagues", "E0,SP1", "--since", "2023"]
    process = await asyncio.create_subprocess_exec(
        *argv, "--into", str(asked.folder), env=env, stderr=subprocess.DEVNULL
    )
    async with asyncio.timeout(120):
        while not site.asked["mmz4281/2324/SP1.csv"]:
            assert process.returncode is None
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    for name, content in (await asyncio.to_thread(contents, asked.folder)).items():
        if name.startswith("main/"):
            assert content == site.files["mmz4281/" + name.removeprefix("main/")]
    found = await outcomes(asked)
    assert found["mmz4281/2324/SP1.csv"] is FetchOutcome.NEW
    assert FetchOutcome.FAILED not in found.values()


def test_leagues_are_named_by_their_codes() -> None:
    assert parse_leagues(" e0, SP1,E0 ") == ("E0", "SP1")
    assert len(parse_leagues("all")) == 38
    for text in ("E0,XX", "", ","):
        with pytest.raises(BuildStopped, match="Known are: E0, E1"):
            parse_leagues(text)


@pytest.mark.parametrize(("now", "newest"), [("2025-06-30", "2425"), ("2025-07-01", "2526"), ("2026-01-01", "2526")])
def test_seasons_turn_in_july(now: str, newest: str, tmp_path: Path) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    files = FetchPlan("http://site", ("E0",), 1999, tmp_path, moment).files()
    assert files[1].address == f"mmz4281/{newest}/E0.csv"
    assert files[-1].address == "mmz4281/9900/E0.csv"


@pytest.mark.parametrize(("leagues", "code"), [("E0", 0), ("XX", 1)])
async def test_the_command_tells_what_it_did(
    plan: Plan, leagues: str, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = plan()
    monkeypatch.setenv("SOURCE_URL", asked.address)
    options = ["--leagues", leagues, "--since", "2024", "--into", str(asked.folder)]
    assert await asyncio.to_thread(main, options) == code
    said = capfd.readouterr().err
    assert ("What was fetched" in said) is (code == 0)
    assert ("There is no league XX." in said) is (code == 1)


async def test_a_table_counts_files_and_rows_by_league(plan: Plan) -> None:
    table = summary_table(await fetch(plan()))
    assert list(table.columns[0].cells) == ["fixtures", "E0", "SP1"]
    assert list(table.columns[-1].cells) == ["+3", "+120", "+120"]


@pytest.mark.skipif(not HAS_REAL, reason="no real data: set TOUCHLINE_REAL_DATA to its folder")
async def test_real_files_come_through_unchanged(plan: Plan, site: Site) -> None:
    site.files = await asyncio.to_thread(real_files, {"E2": "2324", "T1": "2324", "ARG": ""})
    asked = plan("E2", "T1", "ARG", now=datetime(2026, 8, 20, 12, tzinfo=UTC))
    found = await outcomes(asked)
    assert FetchOutcome.FAILED not in found.values()
    assert found["new_league_fixtures.csv"] is FetchOutcome.ABSENT
    files = await asyncio.to_thread(contents, asked.folder)
    for address, body in site.files.items():
        if address != LIST:
            assert files[address.replace("mmz4281/", "main/")] == body
    ingest = await asyncio.to_thread(read_folder, asked.folder, now=asked.now)
    assert not ingest.report.faults
    assert ingest.report.n_upcoming >= 1


@pytest.mark.skipif(not HAS_REAL, reason="no real data: set TOUCHLINE_REAL_DATA to its folder")
def test_every_real_file_passes_as_one() -> None:
    """Of all seasons and lists, each as it came from the site."""
    count = 0
    for address, body in real_files(dict.fromkeys(parse_leagues("all"), "0000")).items():
        refuse_foreign(body)
        count += bool(address)
    assert count > 500
