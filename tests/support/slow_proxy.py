"""A TCP proxy to a server that seems far away: every byte, there and back, arrives late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class SlowProxy:
    """Where it listens, and how far away the server seems each way; a test may change that."""

    port: int
    delay_s: float


@asynccontextmanager
async def slow_proxy(port: int, delay_s: float) -> AsyncIterator[SlowProxy]:
    """A proxy to `port` of the loopback, `delay_s` away each way; connecting takes no time."""
    proxy = SlowProxy(0, delay_s)
    tasks: set[asyncio.Task[None]] = set()

    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()  # as the server itself, which is not there
            return
        writers.update((writer, server_writer))
        for source, sink in ((reader, server_writer), (server_reader, writer)):
            tasks.add(asyncio.create_task(_copy(source, sink, proxy)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, proxy: SlowProxy) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            await asyncio.sleep(proxy.delay_s)
            sink.write(data)
    sink.close()
