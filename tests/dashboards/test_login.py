"""Beyond loopback the match page asks for a password, and starts without one only when told so in words."""

import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
from pydantic import SecretStr

from app.settings import Settings
from dashboards.login import PageExposed, check_exposure
from dashboards.server import open_server
from infra.local.ports import free_port

PASSWORD = "correct horse"
GUARDED = ["/", "/metadata", "/ws", "/cards.csv", "/drift-report"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "page.example"])
def test_page_without_a_password_is_refused_beyond_this_machine(host: str) -> None:
    with pytest.raises(PageExposed, match="DASHBOARD_PASSWORD"):
        check_exposure(Settings(dashboard_host=host))
    check_exposure(Settings(dashboard_host=host, dashboard_password=SecretStr(PASSWORD)))
    check_exposure(Settings(dashboard_host=host, dashboard_allow_public=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_nothing_is_asked(host: str) -> None:
    check_exposure(Settings(dashboard_host=host))


@pytest.mark.timeout(600)
def test_process_says_why_it_does_not_start() -> None:
    env = ["env", "DASHBOARD_HOST=0.0.0.0", f"DASHBOARD_PORT={free_port()}"]
    ended = subprocess.run(
        [*env, sys.executable, "-m", "dashboards"], capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Refusing to listen on 0.0.0.0")
    assert "Traceback" not in ended.stderr


@pytest.fixture
async def page() -> AsyncIterator[str]:
    """The address of a page with a password."""
    async with open_server(Settings(dashboard_port=0, dashboard_password=SecretStr(PASSWORD))) as server:
        yield f"http://127.0.0.1:{server.port}"


async def log_in(session: aiohttp.ClientSession, page: str, password: str) -> None:
    await session.post(f"{page}/login", data={"username": "reader", "password": password}, allow_redirects=False)


@pytest.mark.timeout(600)
async def test_nothing_is_shown_before_the_password(page: str) -> None:
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        for attempt in ("", "wrong", PASSWORD.upper()):
            await log_in(session, page, attempt)
            for path in GUARDED:
                async with session.get(f"{page}{path}", allow_redirects=False) as response:
                    assert response.status in {302, 401, 403}, path
                    if response.status == 302:
                        assert response.headers["Location"].lstrip(".").startswith("/login")
        await log_in(session, page, PASSWORD)
        async with session.get(f"{page}/metadata", allow_redirects=False) as response:
            assert response.status == 200


@pytest.mark.timeout(600)
async def test_forged_cookie_opens_nothing(page: str) -> None:
    async with aiohttp.ClientSession(cookies={"user": "reader"}) as session:
        for path in GUARDED:
            async with session.get(f"{page}{path}", allow_redirects=False) as response:
                assert response.status in {302, 401, 403}
