"""A reader of server-sent events for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from tests.support.serving import Client

WAIT_S = 20.0


@dataclass(frozen=True)
class Heard:
    """One event as it came."""

    id: str
    kind: str
    data: Any


class Listener:
    """One open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """The fields of the next block; a comment is the field ''."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(WAIT_S):
            while (line := (await self.response.content.readline()).decode()) not in {"\n", ""}:
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.removeprefix(" ")
        return fields

    async def next(self) -> Heard:
        """The next event, whatever comments stand before it."""
        while "event" not in (fields := await self.block()):
            if not fields:
                raise EOFError("the stream has ended")
        return Heard(fields["id"], fields["event"], orjson.loads(fields["data"]))

    async def next_of(self, kind: str) -> Heard:
        """The next event of a kind."""
        while (heard := await self.next()).kind != kind:
            pass
        return heard


@asynccontextmanager
async def listening(client: Client, last_id: str | None = None, key: str | None = None) -> AsyncIterator[Listener]:
    """Listen to the API's feed."""
    headers = (
        {"Accept": "text/event-stream"}
        | ({"X-API-Key": key} if key else {})
        | ({"Last-Event-ID": last_id} if last_id else {})
    )
    async with client.get("/events", headers=headers) as response:
        assert response.status == 200, await response.text()
        yield Listener(response)
