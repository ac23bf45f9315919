"""Sessions of the match page without a browser: Bokeh's protocol spoken over a bare websocket."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

_TOKEN = re.compile(r'"token":"([^"]+)"')
_BOARD = re.compile(r'"name":"panel\.models\.esm\.[A-Za-z]*ESM","id":"(p\d+)"')
_ANSWER = b'["kind","rows"]'
_WAIT_S = 120.0


class Visitor:
    """One open session; speaks as the page's own script does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count()
        self._board = ""
        self.received_bytes = 0

    async def begin(self) -> None:
        """Take the document, and say hello; over when the first rows are here."""
        await self._content("ACK")
        await self._send("PULL-DOC-REQ", {})
        found = _BOARD.search((await self._content("PULL-DOC-REPLY")).decode())
        if found is None:
            raise ValueError("The document has no board.")
        self._board = found.group(1)
        await self._event("document_ready", [])
        await self.ask({"kind": "hello", "zone": "UTC", "query": ""})

    async def ask(self, message: dict[str, Any]) -> float:
        """Send a message of the page; seconds until rows have come."""
        began = time.perf_counter()
        data = {"type": "map", "entries": list(message.items())}
        await self._event("data_event", [["model", {"id": self._board}], ["data", data]])
        while _ANSWER not in await self._content("PATCH-DOC"):
            pass
        return time.perf_counter() - began

    async def change(self, **patch: str) -> float:
        """Change filters; seconds until rows have come."""
        return await self.ask({"kind": "change", "patch": {"type": "map", "entries": list(patch.items())}})

    async def _event(self, name: str, entries: list[Any]) -> None:
        event = {"type": "event", "name": name, "values": {"type": "map", "entries": entries}}
        await self._send(
            "PATCH-DOC", {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}]}
        )

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        for part in ({"msgid": f"v{next(self._ids)}", "msgtype": kind}, {}, content):
            await self._socket.send_str(orjson.dumps(part).decode())

    async def _content(self, kind: str) -> bytes:
        """The content of the next message of a kind."""
        async with asyncio.timeout(_WAIT_S):
            while True:
                header, _, content = [await self._part() for _ in range(3)]
                if orjson.loads(header)["msgtype"] == kind:
                    return content

    async def _part(self) -> bytes:
        part = (await self._socket.receive_str()).encode()
        self.received_bytes += len(part)
        return part


@asynccontextmanager
async def visiting(url: str, client: aiohttp.ClientSession) -> AsyncIterator[Visitor]:
    """A session that shows its first rows."""
    async with client.get(url) as response:
        found = _TOKEN.search(await response.text())
    if found is None:
        raise ValueError("The page has no token.")
    address = url.replace("http", "ws", 1).rstrip("/") + "/ws"
    async with client.ws_connect(
        address, protocols=("bokeh", found.group(1)), origin=url.rstrip("/"), max_msg_size=0
    ) as socket:
        visitor = Visitor(socket)
        await visitor.begin()
        yield visitor
