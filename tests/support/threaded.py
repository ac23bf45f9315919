"""The API on a port, in a thread with a loop of its own: one for a whole module of synchronous tests."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from app import appkeys
from app.main import create_app
from app.settings import Settings


class Server:
    """The API until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url: queue.Queue[str] = queue.Queue()

    async def serve(self) -> None:
        """Serve; the address goes into `url`."""
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        app = create_app(self._settings)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await app[appkeys.SNAPSHOTS].refresh()
        self.url.put(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await self._stopped.wait()
        await runner.cleanup()

    def stop(self) -> None:
        """From another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of an API whose artifacts are open."""
    server = Server(settings)
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    try:
        yield server.url.get(timeout=60)
    finally:
        server.stop()
        thread.join(30)
