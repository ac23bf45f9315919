"""A TCP proxy to a server that seems far away: every byte, there and back, arrives late."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def slow_proxy(port: int, delay_s: float) -> AsyncIterator[int]:
    """The port of a proxy to `port` of the loopback, `delay_s` away each way; connecting takes no time."""
    tasks: set[asyncio.Task[None]] = set()

    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, server_writer))
        for source, sink in ((reader, server_writer), (server_reader, writer)):
            tasks.add(asyncio.create_task(_copy(source, sink, delay_s)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            await asyncio.sleep(delay_s)
            sink.write(data)
    sink.close()
