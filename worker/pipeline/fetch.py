"""Fetch football-data.co.uk's result files and fixtures lists into a folder, politely; see scripts/fetch.

The folder can be built from at any time: every file is whole, and a file that could not be fetched stays what it was.
What the site said of each file (ETag, Last-Modified) is kept beside them, so an unchanged one costs it nothing, and a
season that was fetched after its end is never asked for again.
"""

import argparse
import asyncio
import csv
import fcntl
import io
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath

import aiohttp
from rich.console import Console
from rich.table import Table

from app import __version__
from app.runtime import Backoff
from app.settings import Settings
from worker.pipeline.atomic_file import replace_file
from worker.pipeline.failures import BuildStopped
from worker.pipeline.ingest.leagues import Leagues, published_divisions

USER_AGENT = f"Touchline/{__version__} (football predictions; fetches each file at most once a refresh)"
AT_ONCE = 2
TRIES = 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LONGEST_WAIT_S = 600.0  # that a site may ask for by Retry-After; past it, the next refresh is the better time
TIMEOUT = aiohttp.ClientTimeout(total=300.0, sock_connect=15.0, sock_read=30.0)
LARGEST_BYTES = 64 * 2**20
# the site goes on correcting a season for a while
_CORRECTED_FOR = timedelta(days=31)
_SEASON_BEGINS = 7  # the month in which leagues turn from one season to the next
_ABSENT = {300, 404, 410}  # 300 with a web page is what the site says of a season file that is yet to come
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_KEPT = ".fetch"  # in the folder: what the site said, and the lists as they came
DEFAULT_SINCE = 2015


class FetchOutcome(StrEnum):
    """What became of one file."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FINISHED = "finished"  # fetched after the season's end: not asked for
    ABSENT = "absent"  # the site has no such file, or not yet
    FAILED = "failed"


_TOLD = {FetchOutcome.NEW, FetchOutcome.CHANGED, FetchOutcome.FAILED}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of the site and where it goes; `ends_at`: nothing is added to it afterwards."""

    address: str
    target: str
    ends_at: datetime | None = None
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is known of a file from the last time it was asked for."""

    asked_at: datetime
    size_bytes: int | None = None  # None: the site had no such file
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one file, and the rows that it has more than before."""

    file: RemoteFile
    outcome: FetchOutcome
    rows: int = 0
    detail: str = ""


class Refused(Exception):
    """The answer is no file of ours, and asking again will not mend it."""


class Unusable(Exception):
    """The answer may be better next time; `pause_s` is what the site asks for."""

    def __init__(self, detail: str, pause_s: float | None = None) -> None:
        super().__init__(detail)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What to fetch, from where, into which folder."""

    address: str
    leagues: tuple[str, ...]
    since: int
    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    first_pause_s: float = FIRST_PAUSE_S

    def files(self) -> list[RemoteFile]:
        """Every file of the site that the leagues need, the newest season first."""
        extra = [code for code in self.leagues if is_extra(code)]
        main = [code for code in self.leagues if not is_extra(code)]
        newest = self.now.year if self.now.month >= _SEASON_BEGINS else self.now.year - 1
        found = []
        if main:
            found.append(RemoteFile("fixtures.csv", "fixtures/fixtures.csv", is_list=True))
        if extra:
            found.append(RemoteFile("new_league_fixtures.csv", "fixtures/new_league_fixtures.csv", is_list=True))
        found += [RemoteFile(f"new/{code}.csv", f"new/{code}.csv") for code in extra]
        for year in range(newest, self.since - 1, -1):
            season = f"{year % 100:02}{(year + 1) % 100:02}"
            ends_at = datetime(year + 1, _SEASON_BEGINS, 1, tzinfo=UTC) + _CORRECTED_FOR
            found += [RemoteFile(f"mmz4281/{season}/{code}.csv", f"main/{season}/{code}.csv", ends_at) for code in main]
        return found


def is_extra(division: str) -> bool:
    """Whether the site keeps all seasons of a division in one file under `new/`."""
    return len(division) == 3 and division.isalpha()


def parse_leagues(text: str) -> tuple[str, ...]:
    """Return the divisions of `E0,SP1` or `all`; BuildStopped names those that the site does not have."""
    known = published_divisions()
    if text.strip().lower() == "all":
        return known
    asked = tuple(dict.fromkeys(code.strip().upper() for code in text.split(",") if code.strip()))
    unknown = [code for code in asked if code not in known]
    if unknown or not asked:
        said = f"There is no league {', '.join(unknown)}." if unknown else "No league was named."
        raise BuildStopped(f"{said} Known are: {', '.join(known)}, or all.")
    return asked


async def fetch(plan: FetchPlan, console: Console | None = None) -> list[Fetched]:
    """Bring every file that is new or has changed; what became of each, in the order of the plan."""
    async with _locked(plan.folder):
        kept = await asyncio.to_thread(_KeptStamps, plan.folder)
        turn = asyncio.Semaphore(AT_ONCE)
        headers = {"User-Agent": USER_AGENT, "Accept": "text/csv, text/plain;q=0.9, */*;q=0.1"}
        async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
            client = _Client(plan, session, kept)

            async def take(file: RemoteFile) -> Fetched:
                async with turn:
                    found = await client.bring(file)
                    if console is not None and found.outcome in {
                        FetchOutcome.NEW,
                        FetchOutcome.CHANGED,
                        FetchOutcome.FAILED,
                    }:
                        console.print(_line(found), highlight=False, soft_wrap=True)
                    return found

            return list(await asyncio.gather(*(take(file) for file in plan.files())))


class _Client:
    """Asks for one file at a time, as often as it takes."""

    def __init__(self, plan: FetchPlan, session: aiohttp.ClientSession, kept: "_KeptStamps") -> None:
        self._plan = plan
        self._session = session
        self._kept = kept

    async def bring(self, file: RemoteFile) -> Fetched:
        """Fetch a file if it is new or has changed."""
        stamp = await asyncio.to_thread(self._kept.find_stamp, file)
        if stamp is not None and file.ends_at is not None and stamp.asked_at >= file.ends_at:
            return Fetched(file, FetchOutcome.FINISHED)
        backoff = Backoff(self._plan.first_pause_s, LONGEST_PAUSE_S)
        for left in reversed(range(TRIES)):
            try:
                return await self._ask(file, stamp)
            except (Unusable, aiohttp.ClientError, TimeoutError) as error:
                pause_s = backoff.next_pause()
                asked_s = error.pause_s if isinstance(error, Unusable) else None
                detail = str(error) or type(error).__name__
                if not left or (asked_s or 0.0) > LONGEST_WAIT_S:
                    return Fetched(file, FetchOutcome.FAILED, detail=detail)
                await asyncio.sleep(pause_s if asked_s is None else asked_s)
            except (Refused, OSError) as error:
                return Fetched(file, FetchOutcome.FAILED, detail=str(error))
        raise AssertionError("the last try returns")

    async def _ask(self, file: RemoteFile, stamp: Stamp | None) -> Fetched:
        headers = {}
        if stamp is not None and stamp.etag:
            headers["If-None-Match"] = stamp.etag
        if stamp is not None and stamp.last_modified:
            headers["If-Modified-Since"] = stamp.last_modified
        asked_at = self._plan.now
        async with self._session.get(f"{self._plan.address.rstrip('/')}/{file.address}", headers=headers) as answer:
            if answer.status in _RETRIED:
                raise Unusable(f"answer {answer.status}", _retry_after_s(answer.headers.get("Retry-After")))
            if answer.status in _ABSENT:
                await asyncio.to_thread(self._kept.note, file, Stamp(asked_at))
                return Fetched(file, FetchOutcome.ABSENT)
            if answer.status == 304 and stamp is not None:
                await asyncio.to_thread(self._kept.note, file, replace(stamp, asked_at=asked_at))
                # the leagues asked for may be others than when the list came
                await asyncio.to_thread(self._kept.publish_list, file, self._plan.leagues)
                return Fetched(file, FetchOutcome.UNCHANGED)
            if answer.status != 200:
                raise Refused(f"answer {answer.status}")
            body = await _read_bounded(answer)
            fresh = Stamp(asked_at, len(body), answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
        return await asyncio.to_thread(self._store, file, body, fresh)

    def _store(self, file: RemoteFile, body: bytes, fresh: Stamp) -> Fetched:
        refuse_foreign(body)
        before = self._kept.read(file)
        if before is not None and len(body) < len(before) and before.startswith(body):
            raise Unusable("the answer ends in the middle of the file that is here already")
        if body != before:
            self._kept.write(file, body)
        self._kept.note(file, fresh)
        self._kept.publish_list(file, self._plan.leagues)
        if body == before:
            return Fetched(file, FetchOutcome.UNCHANGED)
        rows = _count_rows(body) - (0 if before is None else _count_rows(before))
        return Fetched(file, FetchOutcome.NEW if before is None else FetchOutcome.CHANGED, rows)


class _KeptStamps:
    """The files of the folder, and what the site said of each; every change is on disk before the next file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _KEPT / "files.json"
        self._stamps: dict[str, Stamp] = {}
        self._writing = threading.Lock()  # two files at a time are stored, each in a thread
        try:
            read = json.loads(self._path.read_text("utf-8"))
            self._stamps = {
                name: Stamp(**stamp | {"asked_at": datetime.fromisoformat(stamp["asked_at"])})
                for name, stamp in read.items()
            }
        except (OSError, ValueError, TypeError, KeyError):
            self._stamps = {}  # then everything is asked for again

    def find_stamp(self, file: RemoteFile) -> Stamp | None:
        """Return what is known of a file that is there whole, or was not to be had."""
        stamp = self._stamps.get(file.address)
        if stamp is None or stamp.size_bytes is None:
            return stamp
        try:
            return stamp if self._place(file).stat().st_size == stamp.size_bytes else None
        except OSError:
            return None

    def note(self, file: RemoteFile, stamp: Stamp) -> None:
        """Keep what the site said."""
        with self._writing:
            self._stamps[file.address] = stamp
            plain = {
                name: asdict(each) | {"asked_at": each.asked_at.isoformat()} for name, each in self._stamps.items()
            }
            _write(self._path, json.dumps(plain, indent=1).encode())

    def read(self, file: RemoteFile) -> bytes | None:
        """Return the file as it came last."""
        try:
            return self._place(file).read_bytes()
        except OSError:
            return None

    def write(self, file: RemoteFile, body: bytes) -> None:
        """Replace the file in one step."""
        _write(self._place(file), body)

    def publish_list(self, file: RemoteFile, leagues: Sequence[str]) -> None:
        """Write the rows of a fixtures list that are of the leagues asked for: of the others no results are here."""
        if not file.is_list or (whole := self.read(file)) is None:
            return
        chosen, target = _rows_of(whole, leagues), self._folder / file.target
        if not target.is_file() or target.read_bytes() != chosen:
            _write(target, chosen)

    def _place(self, file: RemoteFile) -> Path:
        return self._folder / _KEPT / file.address if file.is_list else self._folder / file.target


def refuse_foreign(body: bytes) -> None:
    """Raise Refused unless these bytes are a file of matches; Unusable when they end in the middle of a row."""
    text = body.removeprefix(b"\xef\xbb\xbf")
    header, _, rest = text.partition(b"\n")
    cells = [cell.strip().lower() for cell in header.split(b",")]
    if cells[0] not in {b"div", b"country"} or b"date" not in cells:
        what = "a web page" if text.lstrip()[:1] == b"<" else "no list of matches"
        raise Refused(f"the answer is {what}, not a CSV file of matches")
    last = rest.rpartition(b"\n")[2]
    if last and last.count(b",") < len(cells) - 1:
        raise Unusable("the answer ends in the middle of a row")


def _rows_of(body: bytes, leagues: Sequence[str]) -> bytes:
    """Return a list's header and the rows whose division, or whose country, is one of those asked for."""
    known = Leagues()
    keys = {code.casefold() for code in leagues} | {known.get(code)[0].region.casefold() for code in leagues}
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = body.decode("cp1252", errors="replace")
    header, *rows = list(csv.reader(io.StringIO(text)))
    is_by_country = header[0].strip().lower() == "country"
    named = {known.get(code)[0].region.casefold() for code in leagues if is_extra(code)} if is_by_country else keys
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(
        [header, *(row for row in rows if row and row[0].strip().casefold() in named)]
    )
    return out.getvalue().encode()


async def _read_bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(2**16):
        body += chunk
        if len(body) > LARGEST_BYTES:
            raise Refused(f"the answer has more than {LARGEST_BYTES >> 20} MB")
    return bytes(body)


def _retry_after_s(text: str | None) -> float | None:
    """Return the seconds of a Retry-After: a number, or a date."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _count_rows(body: bytes) -> int:
    return sum(1 for line in body.splitlines()[1:] if line.strip(b", \t"))


def _write(path: Path, body: bytes) -> None:
    with replace_file(path) as part, part.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


@asynccontextmanager
async def _locked(folder: Path) -> AsyncIterator[None]:
    def lock() -> int:
        (folder / _KEPT).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _KEPT / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise BuildStopped(f"Another fetch is writing to {folder}.") from None
        return descriptor

    descriptor = await asyncio.to_thread(lock)
    try:
        yield
    finally:
        os.close(descriptor)


def _line(found: Fetched) -> str:
    name = PurePosixPath(found.file.target)
    if found.outcome is FetchOutcome.FAILED:
        return f"{name}: not fetched: {found.detail}"
    return f"{name}: {found.outcome}, {found.rows:+,} rows"


def summary_table(found: Iterable[Fetched]) -> Table:
    """Return the table of what is new: files and rows by league, with what was left as it is."""
    by_league: dict[str, list[Fetched]] = {}
    for each in found:
        by_league.setdefault(PurePosixPath(each.file.target).stem, []).append(each)
    table = Table(title="What was fetched", title_justify="left")
    table.add_column("league or list")
    for outcome in FetchOutcome:
        table.add_column(outcome.value, justify="right")
    table.add_column("rows", justify="right")
    for league, files in by_league.items():
        counts = (sum(each.outcome is outcome for each in files) for outcome in FetchOutcome)
        rows = sum(each.rows for each in files)
        table.add_row(league, *(f"{count or ''}" for count in counts), f"{rows:+,}" if rows else "")
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch as the command line says; 0, or 1 when a file could not be fetched."""
    settings, console = Settings(), Console(stderr=True)
    parser = argparse.ArgumentParser(prog="scripts/fetch", description="Fetch results and fixtures of leagues.")
    parser.add_argument("--leagues", default="all", help="codes such as E0,SP1,ARG, or all (default: %(default)s)")
    parser.add_argument("--since", type=int, default=DEFAULT_SINCE, help="first season's first year (%(default)s)")
    parser.add_argument("--into", type=Path, help="folder (default: data in TOUCHLINE_HOME)")
    chosen = parser.parse_args(argv)
    folder = chosen.into or settings.touchline_home / "data"
    try:
        leagues = parse_leagues(chosen.leagues)
        found = asyncio.run(fetch(FetchPlan(settings.source_url, leagues, chosen.since, folder), console))
    except (BuildStopped, OSError) as error:
        console.print(f"Stopped. {error}", style="bold red", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted; the files that are there are whole.", style="bold red")
        return 1
    console.print(summary_table(found))
    console.print(f"{folder} is ready: scripts/run --data {folder}. Source: {settings.source_url}", soft_wrap=True)
    return int(any(each.outcome is FetchOutcome.FAILED for each in found))


if __name__ == "__main__":
    sys.exit(main())
