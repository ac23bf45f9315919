"""A TCP proxy before the S3 server that spoils chosen answers on their way."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import SplitResult, unquote, urlsplit

Spoil = Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]]  # head, body, to whom
_END = b"\r\n\r\n"


async def pass_on(head: bytes, body: bytes, to: asyncio.StreamWriter) -> None:
    """As it came."""
    to.write(head + body)
    await to.drain()


def answer(status: int, code: str) -> Spoil:
    """An error as S3 words it."""

    async def spoil(_head: bytes, _body: bytes, to: asyncio.StreamWriter) -> None:
        body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
        head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        await pass_on(f"{head}Connection: close".encode() + _END, body, to)

    return spoil


async def stall(head: bytes, body: bytes, to: asyncio.StreamWriter) -> None:
    """Half of the body, then silence."""
    await pass_on(head, body[: len(body) // 2], to)
    await asyncio.sleep(3600)


async def reset(head: bytes, body: bytes, to: asyncio.StreamWriter) -> None:
    """Half of the body, then a reset connection."""
    await pass_on(head, body[: len(body) // 2], to)
    to.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    to.transport.abort()


async def truncate(head: bytes, body: bytes, to: asyncio.StreamWriter) -> None:
    """Half of the body, then the end."""
    await pass_on(head, body[: len(body) // 2], to)


async def corrupt(head: bytes, body: bytes, to: asyncio.StreamWriter) -> None:
    """One byte is another."""
    middle = len(body) // 2
    await pass_on(head, body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :], to)


@dataclass
class Proxy:
    """Where it listens, and what it does to the answers about keys that contain a text; requests are counted."""

    endpoint: str
    spoils: dict[str, Spoil] = field(default_factory=dict)
    before: Callable[[str], Awaitable[None]] | None = None
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def proxy(upstream: str) -> AsyncIterator[Proxy]:
    """A proxy before an S3 server, in this loop."""
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(opened, urlsplit(upstream), reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        opened = Proxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            yield opened
        finally:
            for task in tuple(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _serve(
    opened: Proxy, upstream: SplitResult, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = await reader.readuntil(_END)
        path = unquote(head.split(b" ", 2)[1].decode())
        opened.asked.append(path)
        if opened.before is not None:
            await opened.before(path)
        spoil = next((spoil for text, spoil in opened.spoils.items() if text in path), pass_on)
        await spoil(*await _ask(upstream, head), writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the client went away
    finally:
        await _close(writer)


async def _ask(upstream: SplitResult, head: bytes) -> tuple[bytes, bytes]:
    """The server's answer, head and body, to a request that has none."""
    reader, writer = await asyncio.open_connection(upstream.hostname, upstream.port)
    try:
        # the signature covers Host, which stays, and not this
        writer.write(head.removesuffix(_END) + b"\r\nConnection: close" + _END)
        raw = await reader.read()
    finally:
        await _close(writer)
    found, _, body = raw.partition(_END)
    return found + _END, body


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
