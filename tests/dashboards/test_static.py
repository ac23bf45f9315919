"""Files of the page: compressed, kept for a year, and none but its own."""

import gzip
import re
from pathlib import Path

import aiohttp
import bokeh.settings
import brotli
import pytest

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

BOKEH = Path(bokeh.settings.settings.bokehjs_path()) / "js" / "bokeh.min.js"


async def fetch(url: str, encoding: str, **headers: str) -> tuple[int, aiohttp.typedefs.LooseHeaders, bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(url, headers={"Accept-Encoding": encoding, **headers}) as response,
    ):
        return response.status, response.headers.copy(), await response.read()


async def list_files(site: str) -> list[str]:
    _, _, body = await fetch(site, "identity")
    return re.findall(r'(?:href|src)="((?:assets|static)/[^"]+)"', body.decode())


@pytest.mark.parametrize(("encoding", "decode"), [("br", brotli.decompress), ("gzip", gzip.decompress)])
async def test_every_file_of_the_page_is_compressed_and_kept(site: str, encoding: str, decode: object) -> None:
    files = [name for name in await list_files(site) if name.split("?")[0].endswith((".js", ".css"))]
    assert any("panel.min.js" in name for name in files)
    # the page asks for its own modules once it is painted, so its HTML does not name them
    files += [name.replace("board.css", "board.js") for name in files if name.endswith("/board.css")]
    assert any(name.endswith("/board.js") for name in files)
    for name in files:
        _, _, plain = await fetch(f"{site}/{name}", "identity")
        status, headers, body = await fetch(f"{site}/{name}", f"{encoding}, deflate")
        assert (status, headers["Content-Encoding"]) == (200, encoding)
        assert decode(body) == plain  # type: ignore[operator]
        assert len(body) < 0.6 * len(plain)
        assert headers["Vary"] == "Accept-Encoding"
        if name.startswith("assets/") or "?v=" in name:
            assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        status, _, body = await fetch(f"{site}/{name}", encoding, **{"If-None-Match": headers["Etag"]})
        assert (status, body) == (304, b"")


async def test_a_browser_that_takes_no_encoding_gets_the_file_as_it_is(site: str) -> None:
    for accepted in ("identity", "br;q=0"):
        _, headers, body = await fetch(f"{site}/static/js/bokeh.min.js", accepted)
        assert "Content-Encoding" not in headers
        assert body == BOKEH.read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "static/js/../../settings.py",
        "static/%2e%2e/settings.py",
        "static/extensions/panel/../command/__init__.py",
        "static/extensions/nobody/x.js",
        "static/",
        "assets/0123456789abcdef/board.js",
        "assets/../server.py",
    ],
)
async def test_no_other_file_is_served(site: str, path: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(aiohttp.client.URL(f"{site}/{path}", encoded=True)) as response,
    ):
        assert response.status in {403, 404}


async def test_the_page_itself_is_compressed_and_never_kept(site: str) -> None:
    _, headers, body = await fetch(site, "gzip")
    assert headers["Cache-Control"] == "no-store"
    assert b"Touchline" in gzip.decompress(body)
