"""Messages to the browser: every one arrives, however busy the socket is."""

import asyncio
import re

import pytest
from panel.io.document import _WRITE_MSGS
from panel.io.state import set_curdoc
from playwright.async_api import Browser, WebSocket

from tests.dashboards.conftest import boards, visiting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

N_ROUNDS = 8


async def test_no_message_is_lost_while_another_is_being_written(browser: Browser, site: str) -> None:
    """Panel's own sending forgets a message that comes while it awaits the writing of the one before."""
    before = boards()
    async with visiting(browser, site) as visit:
        arrived: set[str] = set()

        def listen(socket: WebSocket) -> None:
            socket.on("framereceived", lambda frame: arrived.update(re.findall(r'"probe-(\w+)"', str(frame))))

        visit.page.on("websocket", listen)
        await visit.open()
        (board,) = (board for board in boards() if all(board is not other for other in before))
        document = next(iter(board._models.values()))[0].document
        (connection,) = document.session_context.session._subscribed_connections
        writing = connection._socket.write_lock

        async def send_in_vain(name: str) -> None:
            with await writing.acquire(), set_curdoc(document):  # as it is while a message is answered
                board._send_msg({"kind": f"probe-{name}"})
                await asyncio.sleep(0.03)

        for pause in range(N_ROUNDS):
            await send_in_vain(f"{pause}a")
            while document in _WRITE_MSGS:  # noqa: ASYNC110  to be there in the very moment
                await asyncio.sleep(0)
            for _ in range(pause):
                await asyncio.sleep(0)
            await send_in_vain(f"{pause}b")
            async with asyncio.timeout(20):
                while not {f"{pause}a", f"{pause}b"} <= arrived:  # noqa: ASYNC110  the browser tells frame by frame
                    await asyncio.sleep(0.01)
