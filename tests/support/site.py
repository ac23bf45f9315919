"""A copy of football-data.co.uk on this machine: real files where they are, made ones otherwise, and its bad days."""

import asyncio
import contextlib
import gzip
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

REAL = Path(os.environ.get("TOUCHLINE_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data")  # noqa: TID251
HAS_REAL = (REAL / "main").is_dir()
HTML = b"<!DOCTYPE HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>\n<html><body>Multiple choices</body></html>\n"
Fault = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


def season_file(division: str, rows: int, *, year: int = 2024) -> bytes:
    """A season's file with so many matches, as the site writes it."""
    lines = ["Div,Date,Time,HomeTeam,AwayTeam,FTHG,FTAG,FTR,B365H,B365D,B365A"]
    for row in range(rows):
        home, away = f"Club {row % 10}", f"Club {(row + 1 + row // 10) % 10}"
        lines.append(f"{division},{1 + row % 28:02}/{8 + row // 28:02}/{year},15:00,{home},{away},1,0,H,2.1,3.3,3.6")
    return "\r\n".join([*lines, ""]).encode()


def made_files() -> dict[str, bytes]:
    """Two divisions over two seasons, an extra league, and both lists."""
    files = {
        f"mmz4281/{season}/{division}.csv": season_file(division, rows, year=year)
        for division in ("E0", "SP1")
        for season, year, rows in (("2324", 2023, 80), ("2425", 2024, 40))
    }
    files["new/ARG.csv"] = (
        b"\xef\xbb\xbfCountry,League,Season,Date,Time,Home,Away,HG,AG,Res,PSCH,PSCD,PSCA\n"
        b"Argentina,Liga Profesional,2024,03/08/2024,23:00,Arsenal,Union,1,0,H,1.9,3.39,5.03\n"
    )
    files["fixtures.csv"] = (
        b"\xef\xbb\xbfDiv,Date,Time,HomeTeam,AwayTeam,B365H,B365D,B365A\n"
        b"E0,20/12/2024,15:00,Club 1,Club 2,2,3,4\nSP1,20/12/2024,15:00,Club 1,Club 2,2,3,4\n"
        b"D1,20/12/2024,15:00,A,B,2,3,4\n"
    )
    files["new_league_fixtures.csv"] = (
        b"Country,League,Date,Time,Home,Away,PH,PD,PA\n"
        b"Argentina,Liga Profesional,20/12/2024,22:00,Union,Arsenal,2,3,4\n"
        b"Japan,J1 League,20/12/2024,22:00,Kobe,Osaka,2,3,4\n"
    )
    return files


def real_files(divisions: Mapping[str, str], fixtures: str = "2026-08-20") -> dict[str, bytes]:
    """The real files of divisions (code to first season, as in {"E2": "2425"}) and the list of a day."""
    files = {"fixtures.csv": gzip.decompress((REAL / f"fixtures/fixtures_{fixtures}.csv.gz").read_bytes())}
    for division, since in divisions.items():
        for folder in (REAL / "main").iterdir():
            path = folder / f"{division}.csv.gz"
            if since <= folder.name < "9000" and path.is_file():
                files[f"mmz4281/{folder.name}/{division}.csv"] = gzip.decompress(path.read_bytes())
        extra = REAL / f"new/{division}.csv.gz"
        if extra.is_file():
            files[f"new/{division}.csv"] = gzip.decompress(extra.read_bytes())
    return files


class Site:
    """Files by address, answered with ETag and Last-Modified; `faults` are used up, one an answer."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.agents: set[str] = set()
        self.at_once = self.most_at_once = 0

    def app(self) -> web.Application:
        """What a test server serves."""
        app = web.Application()
        app.router.add_get("/{address:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        address = request.match_info["address"]
        self.asked[address] += 1
        self.agents.add(request.headers.get("User-Agent", ""))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.005)  # so that those who ask together are seen together
            answer = await self._choose(request, address)
        finally:
            self.at_once -= 1
        self.statuses[answer.status] += 1
        return answer

    async def _choose(self, request: web.Request, address: str) -> web.StreamResponse:
        body = self.files.get(address)
        if self.faults[address]:
            return await self.faults[address].pop(0)(request, body or b"")
        if body is None:
            return web.Response(status=404, text="not here")
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"', "Content-Type": "text/csv"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, headers=headers)


def says(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer so, whatever is asked; `_` in the name of a header stands for `-`."""

    async def fault(_request: web.Request, _body: bytes) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return fault


async def breaks_off(request: web.Request, body: bytes) -> web.StreamResponse:
    """Announce the whole file, send half of it, and close the connection."""
    answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await answer.prepare(request)
    await answer.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return answer


def cuts(share: float) -> Fault:
    """Answer with the beginning of the file as if it were the whole."""

    async def fault(_request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(body=body[: int(len(body) * share)])

    return fault


async def stalls(request: web.Request, body: bytes) -> web.StreamResponse:
    """Send a little, and then nothing until the other side has gone."""
    answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await answer.prepare(request)
    await answer.write(body[:10])
    with contextlib.suppress(ConnectionError, asyncio.CancelledError):
        await asyncio.Event().wait()  # a server that notices the end of a request cancels it
    return answer
